//! Which server answers. An older one lacks commands that the queue and the limits are made of, and
//! would fail in the middle of something; it is refused before anything begins. Nothing is stored.

use tokio::time::timeout;

use super::{
    QueueError,
    link::{CONNECT_TIMEOUT, RedisServer, connect},
};

/// Redis 6.2 brought `XAUTOCLAIM` and exclusive ranges of streams. Valkey, which began with what
/// Redis 7.2 could do, tells that version as `redis_version` for those who ask like this.
const OLDEST: (u32, u32) = (6, 2);

impl RedisServer {
    /// Refuses a server that is too old. One that does not answer, or does not say what it is,
    /// passes: it may be away for now, and everything here comes to terms with that.
    ///
    /// # Errors
    /// [`QueueError::Address`] and [`QueueError::TooOld`].
    pub async fn check_version(&self) -> Result<(), QueueError> {
        let client = self.client()?;
        let asked = async {
            let mut connection = connect(&client).await?;
            redis::cmd("INFO").arg("server").query_async::<String>(&mut connection).await
        };
        match timeout(2 * CONNECT_TIMEOUT, asked).await {
            Ok(Ok(info)) => check(&info),
            Ok(Err(_)) | Err(_) => Ok(()),
        }
    }
}

fn check(info: &str) -> Result<(), QueueError> {
    let Some(found) = info.lines().find_map(|line| line.trim().strip_prefix("redis_version:"))
    else {
        return Ok(());
    };
    let mut numbers = found.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version < OLDEST { Err(QueueError::TooOld { found: found.to_owned() }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_older_servers_are_refused() {
        for old in ["6.0.16", "5.0.14", "2.8", "6.1.240"] {
            let refused =
                check(&format!("# Server\r\nredis_version:{old}\r\nredis_mode:standalone"));
            assert!(matches!(refused, Err(QueueError::TooOld { found }) if found == old), "{old}");
        }
        for fit in ["redis_version:6.2.0", "redis_version:7.2.4\r\nserver_name:valkey", "", "x:1"] {
            check(fit).unwrap();
        }
    }
}
