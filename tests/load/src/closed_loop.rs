//! The driver: a fixed number of connections, each sending its next request when the last one is
//! answered. The offered load follows the server, so the latencies are those of a full house.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use crate::{
    cli::Pace,
    http::{Connection, Reply},
    stats::Tally,
};

/// A connection that fails this often in a row gives up: the server is gone.
const HOPELESS: u32 = 100;
/// A refusal costs the server little; without a pause the refused would crowd out the rest.
const AFTER_REFUSAL: Duration = Duration::from_millis(10);

/// One run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) address: SocketAddr,
    pub(crate) connections: usize,
    /// The status that counts as success.
    pub(crate) expected: u16,
    pub(crate) measured_from: Instant,
    pub(crate) until: Instant,
}

impl Run {
    pub(crate) fn new(address: SocketAddr, connections: u16, expected: u16, pace: &Pace) -> Self {
        let measured_from = Instant::now() + Duration::from_secs(pace.warm_up.into());
        let until = measured_from + Duration::from_secs(pace.seconds.into());
        Self { address, connections: connections.into(), expected, measured_from, until }
    }

    /// Drives it; `request` makes the n-th request of a connection.
    pub(crate) async fn drive<F>(self, request: F) -> Tally
    where
        F: Fn(usize, u64) -> Vec<u8> + Send + Sync + 'static,
    {
        let request = Arc::new(request);
        let mut tasks = JoinSet::new();
        for connection in 0..self.connections {
            let request = Arc::clone(&request);
            tasks.spawn(self.one(move |n| request(connection, n)));
        }
        let mut total = Tally::default();
        while let Some(done) = tasks.join_next().await {
            match done {
                Ok(tally) => total.absorb(tally),
                Err(_) => total.error("panic"),
            }
        }
        total
    }

    async fn one(self, request: impl Fn(u64) -> Vec<u8>) -> Tally {
        let mut tally = Tally::default();
        let mut connection = None;
        let mut failures = 0;
        for n in 0.. {
            let bytes = request(n);
            let began = Instant::now();
            if began >= self.until || failures >= HOPELESS {
                break;
            }
            let answer = call(&mut connection, self.address, &bytes).await;
            let now = Instant::now();
            let counts = now >= self.measured_from && now < self.until;
            let kind = match answer {
                Ok(reply) if reply.status == self.expected => {
                    if counts {
                        tally.latencies.push(now - began);
                    }
                    failures = 0;
                    continue;
                }
                Ok(reply) => reply.status.to_string(),
                Err(error) => {
                    failures += 1;
                    error.kind().to_string()
                }
            };
            if counts {
                tally.error(kind);
            }
            tokio::time::sleep(AFTER_REFUSAL).await;
        }
        if failures >= HOPELESS {
            tally.error("gave up");
        }
        tally
    }
}

/// Calls over the connection, or a new one where there is none.
pub(crate) async fn call(
    slot: &mut Option<Connection>,
    address: SocketAddr,
    bytes: &[u8],
) -> std::io::Result<Reply> {
    let mut connection = match slot.take() {
        Some(connection) => connection,
        None => Connection::open(address).await?,
    };
    let reply = connection.call(bytes).await?;
    if !connection.is_closed() {
        *slot = Some(connection);
    }
    Ok(reply)
}
