//! The limiter that processes share: a list of times for each limit, kept by one script, so that
//! looking and taking is one step. The times are the Redis server's own.

use std::{num::NonZeroU32, time::Duration};

use super::{Grant, Room};
use crate::queue::{QueueError, RedisServer, link::Link};

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(1);

/// When to come back while Redis is away.
const AWAY: Duration = Duration::from_secs(2);

/// The list holds the times of grants in microseconds, newest first, and no more of them than the
/// limit. The last argument is the time of a grant that is taken anew. Answers whether room was taken,
/// and when; or else the microseconds until there is some.
const TAKE: &str = "
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local burst, per = tonumber(ARGV[1]), tonumber(ARGV[2])
redis.call('LREM', KEYS[1], 1, ARGV[3])
local oldest = redis.call('LINDEX', KEYS[1], burst - 1)
if oldest then
    local wait = tonumber(oldest) + per - now
    if wait > 0 then
        return {0, math.min(wait, per)}
    end
end
redis.call('LPUSH', KEYS[1], string.format('%.0f', now))
redis.call('LTRIM', KEYS[1], 0, burst - 1)
redis.call('PEXPIRE', KEYS[1], math.ceil(per / 1000))
return {1, now}
";

/// Grants calls for all processes that share a Redis.
pub struct RedisLimiter {
    link: Link,
    prefix: String,
}

impl RedisLimiter {
    pub(super) fn new(server: &RedisServer, prefix: &str) -> Result<Self, QueueError> {
        Ok(Self { link: Link::new(server.client()?), prefix: prefix.to_owned() })
    }

    pub(super) async fn take(
        &self,
        key: &str,
        burst: NonZeroU32,
        per: Duration,
        own: Option<Grant>,
    ) -> Room {
        let mut pipeline = redis::pipe();
        pipeline
            .cmd("EVAL")
            .arg(TAKE)
            .arg(1)
            .arg(format!("{}:limit:{{{key}}}", self.prefix))
            .arg(burst.get())
            .arg(u64::try_from(per.as_micros()).unwrap_or(u64::MAX))
            .arg(own.map_or(0, |own| own.0));
        // Sent twice after a broken connection, it takes room twice: too careful, not too much.
        match self.link.query::<((u8, u64),)>(&pipeline, LIMIT).await {
            Ok(((1, at),)) => Room::Ok(Grant(at)),
            Ok(((_, micros),)) => Room::RetryAfter(Duration::from_micros(micros)),
            Err(error) => {
                tracing::warn!(%error, key, "no room could be asked for; nothing is granted");
                Room::RetryAfter(AWAY)
            }
        }
    }
}
