//! Announcements: "something changed, look again", from any process to all that wait.
//!
//! Nothing is stored. An announcement may be lost or come twice; behind every wait is a slow look
//! at the database. [`Announcer::Local`] reaches this process; [`Announcer::Redis`] reaches this
//! process at once and all others by publish and subscribe, for which a process keeps one
//! subscription. Sending never fails and never waits: while Redis is away, other processes hear
//! nothing, and [`Announcement::Resync`] when it is back. So does a receiver that fell behind.

mod remote;
mod wire;

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use entities::ids::{ApiKeyId, JobId};
use futures::{Stream, StreamExt};
use tokio::sync::broadcast;
use tokio_stream::wrappers::{BroadcastStream, errors::BroadcastStreamRecvError};

use crate::queue::{QueueError, RedisServer};

pub use remote::RedisAnnouncer;

/// How many announcements a slow receiver may lag behind before it must resynchronise.
const BUFFER: usize = 4096;

/// What changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Announcement {
    /// A job changed in a way that a user can see.
    Job {
        /// The job.
        id: JobId,
        /// Its version after the change.
        version: i64,
    },
    /// Jobs of a pool wait to be dispatched.
    Waiting {
        /// The pool.
        pool: String,
    },
    /// A provider has reported something.
    Callback {
        /// The provider.
        provider: String,
    },
    /// An API key must not be honoured any more.
    KeyRevoked {
        /// The key.
        id: ApiKeyId,
    },
    /// Announcements may have been lost: whoever waits for something should look at it now.
    Resync,
}

/// Sends and receives announcements. A clone is the same announcer.
#[derive(Clone)]
pub enum Announcer {
    /// Inside this process.
    Local(broadcast::Sender<Announcement>),
    /// Between processes.
    Redis(Arc<RedisAnnouncer>),
}

impl Announcer {
    /// An announcer for one process that does everything.
    #[must_use]
    pub fn local() -> Self {
        Self::Local(broadcast::Sender::new(BUFFER))
    }

    /// An announcer for all processes that use this server and `prefix`. It connects when it is
    /// first used; Redis may be away until then.
    ///
    /// # Errors
    /// When the address cannot be one of a Redis.
    pub fn redis(server: impl Into<RedisServer>, prefix: &str) -> Result<Self, QueueError> {
        Ok(Self::Redis(Arc::new(RedisAnnouncer::new(&server.into(), prefix)?)))
    }

    /// Tells everyone who listens.
    #[expect(clippy::unused_async, reason = "callers treat it like a push")]
    pub async fn announce(&self, messages: &[Announcement]) {
        match self {
            Self::Local(sender) => send(sender, messages),
            Self::Redis(announcer) => announcer.announce(messages),
        }
    }

    /// Everything that is announced from now on. Must be called inside a tokio runtime.
    #[must_use]
    pub fn subscribe(&self) -> Announcements {
        Announcements::new(match self {
            Self::Local(sender) => sender.subscribe(),
            Self::Redis(announcer) => announcer.subscribe(),
        })
    }
}

fn send(sender: &broadcast::Sender<Announcement>, messages: &[Announcement]) {
    for message in messages {
        // An error means that nobody listens.
        let _ = sender.send(message.clone());
    }
}

/// What one receiver hears; ends when the announcer is gone.
pub struct Announcements {
    inner: BroadcastStream<Announcement>,
}

impl Announcements {
    fn new(receiver: broadcast::Receiver<Announcement>) -> Self {
        Self { inner: BroadcastStream::new(receiver) }
    }

    /// The next announcement; `None` when the announcer is gone. Dropping the future loses nothing.
    pub async fn recv(&mut self) -> Option<Announcement> {
        self.next().await
    }
}

impl Stream for Announcements {
    type Item = Announcement;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Announcement>> {
        let next = ready!(self.inner.poll_next_unpin(cx));
        Poll::Ready(next.map(|result| match result {
            Ok(announcement) => announcement,
            Err(BroadcastStreamRecvError::Lagged(_)) => Announcement::Resync,
        }))
    }
}
