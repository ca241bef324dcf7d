//! One shared connection to Redis that opens when it is first needed and reopens for ever.
//!
//! While Redis is known to be away, callers are told so at once instead of waiting, so that a
//! submit keeps its speed; a background task keeps trying. A request that gets no answer within
//! its limit counts as a dead connection (half-open socket, frozen server): it is replaced.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, Client, ErrorKind, FromRedisValue, IntoConnectionInfo, Pipeline,
    ProtocolVersion, RedisError, ServerErrorKind, TlsCertificates,
    aio::MultiplexedConnection,
    io::tcp::{TcpSettings, socket2::TcpKeepalive},
};
use secrecy::{ExposeSecret, SecretString};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout, timeout_at},
};

use super::QueueError;

pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A peer that vanished without a word is noticed after about this long on an idle connection.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// Where Redis is: `redis://`, `rediss://` (TLS) or `unix://`. The address may hold a password,
/// so it is never printed.
#[derive(Debug, Clone)]
pub struct RedisServer {
    url: SecretString,
    ca_certificate: Option<Vec<u8>>,
}

impl RedisServer {
    /// The server at `url`.
    pub fn new(url: impl Into<SecretString>) -> Self {
        Self { url: url.into(), ca_certificate: None }
    }

    /// Trusts only the authorities in `pem` instead of the public ones; for `rediss://`.
    #[must_use]
    pub fn with_ca_certificate(mut self, pem: Vec<u8>) -> Self {
        self.ca_certificate = Some(pem);
        self
    }

    pub(crate) fn client(&self) -> Result<Client, QueueError> {
        self.try_client().map_err(|error| QueueError::Address(error.to_string()))
    }

    fn try_client(&self) -> Result<Client, RedisError> {
        let info = self.url.expose_secret().into_connection_info()?;
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP2);
        let info = info.set_tcp_settings(tcp_settings()).set_redis_settings(settings);
        // Whoever linked a second TLS provider into the program must not make this panic. An
        // error means that the program chose one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        match &self.ca_certificate {
            None => Client::open(info),
            Some(pem) => Client::build_with_tls(
                info,
                TlsCertificates { client_tls: None, root_cert: Some(pem.clone()) },
            ),
        }
    }
}

impl From<&str> for RedisServer {
    fn from(url: &str) -> Self {
        Self::new(url)
    }
}

fn tcp_settings() -> TcpSettings {
    let keepalive =
        TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 3).with_retries(3);
    let settings = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
    #[cfg(target_os = "linux")]
    let settings = settings.set_user_timeout(2 * KEEPALIVE);
    settings
}

/// A new connection of its own, without a limit on answers.
pub(crate) async fn connect(client: &Client) -> Result<MultiplexedConnection, RedisError> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(None)
        .set_pipeline_buffer_size(1024);
    client.get_multiplexed_async_connection_with_config(&config).await
}

/// Waits between attempts: 50 ms, doubling to one second.
pub(crate) struct Backoff(Duration);

impl Backoff {
    pub(crate) const fn new() -> Self {
        Self(Duration::from_millis(50))
    }

    pub(crate) fn next(&mut self) -> Duration {
        let wait = self.0;
        self.0 = (wait * 2).min(Duration::from_secs(1));
        wait
    }
}

#[derive(Clone)]
enum State {
    /// Nobody has asked yet.
    Unused,
    /// The first attempt after a start or a loss: callers wait for its outcome.
    Opening,
    /// An attempt failed; others follow. Callers are turned away.
    Away,
    Ready(Ready),
}

#[derive(Clone)]
struct Ready {
    connection: MultiplexedConnection,
    generation: u64,
}

/// The shared connection. A clone is the same one.
#[derive(Clone)]
pub(crate) struct Link {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    state: watch::Sender<State>,
}

impl Link {
    pub(crate) fn new(client: Client) -> Self {
        Self { inner: Arc::new(Inner { client, state: watch::Sender::new(State::Unused) }) }
    }

    pub(crate) fn client(&self) -> &Client {
        &self.inner.client
    }

    /// Sends a pipeline and reads its answer, all within `limit`. A connection that turns out to
    /// be dead is replaced and the pipeline sent again, so it must do no harm when it runs twice.
    pub(crate) async fn query<T: FromRedisValue>(
        &self,
        pipeline: &Pipeline,
        limit: Duration,
    ) -> Result<T, QueueError> {
        let deadline = Instant::now() + limit;
        let mut again = true;
        loop {
            let Ready { mut connection, generation } = self.ready(deadline).await?;
            match timeout_at(deadline, pipeline.query_async(&mut connection)).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) if is_refusal(&error) => {
                    return Err(QueueError::Refused(error.to_string()));
                }
                Ok(Err(error)) => {
                    self.lost(generation, &error.to_string());
                    if !std::mem::take(&mut again) {
                        return Err(QueueError::Away);
                    }
                }
                Err(_elapsed) => {
                    self.lost(generation, "no answer in time");
                    return Err(QueueError::Away);
                }
            }
        }
    }

    async fn ready(&self, deadline: Instant) -> Result<Ready, QueueError> {
        let mut state = self.inner.state.subscribe();
        self.open(|state| matches!(state, State::Unused));
        let settled =
            timeout_at(deadline, state.wait_for(|state| !matches!(state, State::Opening))).await;
        match settled {
            Ok(Ok(state)) => match &*state {
                State::Ready(ready) => Ok(ready.clone()),
                State::Unused | State::Opening | State::Away => Err(QueueError::Away),
            },
            Ok(Err(_)) | Err(_) => Err(QueueError::Away),
        }
    }

    fn lost(&self, generation: u64, reason: &str) {
        let lost = self
            .open(|state| matches!(state, State::Ready(ready) if ready.generation == generation));
        if lost {
            tracing::warn!(reason, "lost the connection to Redis");
        }
    }

    /// Starts to connect if the state is as the caller thinks.
    fn open(&self, expected: impl FnOnce(&State) -> bool) -> bool {
        let mut generation = 0;
        let started = self.inner.state.send_if_modified(|state| {
            if !expected(state) {
                return false;
            }
            if let State::Ready(ready) = state {
                generation = ready.generation;
            }
            *state = State::Opening;
            true
        });
        if started {
            tokio::spawn(reopen(Arc::downgrade(&self.inner), generation + 1));
        }
        started
    }
}

/// Connects, as often as it takes; ends early only when the link itself is gone.
async fn reopen(link: Weak<Inner>, generation: u64) {
    let mut backoff = Backoff::new();
    let mut away = false;
    loop {
        let Some(inner) = link.upgrade() else { return };
        match connect(&inner.client).await {
            Ok(connection) => {
                if away {
                    tracing::info!("Redis is back");
                }
                inner.state.send_replace(State::Ready(Ready { connection, generation }));
                return;
            }
            Err(error) => {
                if !std::mem::replace(&mut away, true) {
                    tracing::warn!(%error, "Redis is away");
                }
                inner.state.send_replace(State::Away);
            }
        }
        drop(inner);
        sleep(backoff.next()).await;
    }
}

/// Whether Redis is there and said no, rather than being out of reach or no longer the leader.
pub(crate) fn is_refusal(error: &RedisError) -> bool {
    match error.kind() {
        ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown) => false,
        ErrorKind::Server(_) | ErrorKind::Extension | ErrorKind::UnexpectedReturnType => true,
        _ => false,
    }
}

/// Runs `work`, but not longer than `limit`; a late answer is an I/O error.
pub(crate) async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, RedisError>>,
) -> Result<T, RedisError> {
    timeout(limit, work)
        .await
        .unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()))
}
