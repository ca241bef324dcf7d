//! The queue seam: hints that a job may be claimed, carried to the workers of a pool.
//!
//! The queue holds nothing but [`JobHint`]s; the database is the truth, so a hint that is lost,
//! repeated or late does no harm. [`Queue::Memory`] lives and dies with the process;
//! [`Queue::Redis`] keeps one stream for each pool. Both stand behind one apalis backend
//! (`backend`). A push can fail (Redis away, backlog full); a delivery cannot: workers wait and
//! reconnect for ever.

mod backend;
pub(crate) mod link;
mod memory;
mod streams;
mod version;

use std::{future::Future, sync::Arc};

use apalis::prelude::{Monitor, WorkerBuilder, WorkerBuilderExt};
use entities::JobHint;

use backend::{Delivery, HintBackend, Source};
use memory::MemoryQueue;
use streams::{RedisQueue, RedisSource};

pub use link::RedisServer;
pub use streams::RedisQueueSettings;

/// More hints than this in one pool are refused: the database will push them again, and the
/// queue cannot grow without end while nobody works.
const BACKLOG_LIMIT: usize = 250_000;

/// Why hints could not be pushed, or a queue not be opened. The jobs are safe in the database.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    /// So many hints wait already that the rest was refused.
    #[error("the queue of pool {pool} is full")]
    Full {
        /// The pool.
        pool: String,
    },
    /// Redis cannot be reached, or does not answer in time.
    #[error("Redis is away")]
    Away,
    /// Redis answered with an error.
    #[error("Redis refused: {0}")]
    Refused(String),
    /// Not the address of a Redis.
    #[error("not a usable Redis address: {0}")]
    Address(String),
    /// It lacks what the queue needs.
    #[error("Redis {found} is too old; Redis 6.2 or newer, or Valkey, is needed")]
    TooOld {
        /// Its version.
        found: String,
    },
}

/// Where hints are pushed and workers find them. A clone is the same queue.
#[derive(Clone)]
pub enum Queue {
    /// In this process only.
    Memory(Arc<MemoryQueue>),
    /// On Redis, for any number of processes.
    Redis(Arc<RedisQueue>),
}

impl Queue {
    /// An empty queue inside this process.
    #[must_use]
    pub fn memory() -> Self {
        Self::Memory(Arc::new(MemoryQueue::new(BACKLOG_LIMIT)))
    }

    /// The queue on Redis. It connects when it is first used; Redis may be away until then.
    ///
    /// # Errors
    /// When the address cannot be one of a Redis.
    #[expect(clippy::unused_async, reason = "opening a queue is waiting by nature")]
    pub async fn redis(settings: RedisQueueSettings) -> Result<Self, QueueError> {
        Ok(Self::Redis(Arc::new(RedisQueue::new(settings)?)))
    }

    /// Offers `hints` to the workers of `pool`.
    ///
    /// # Errors
    /// When (some of) the hints were not stored. They may be pushed again at any time.
    pub async fn push(&self, pool: &str, hints: &[JobHint]) -> Result<(), QueueError> {
        match self {
            Self::Memory(queue) => queue.pool(pool).push(hints),
            Self::Redis(queue) => queue.push(pool, hints).await,
        }
    }

    /// How many hints of `pool` wait for a worker.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn depth(&self, pool: &str) -> Result<u64, QueueError> {
        match self {
            Self::Memory(queue) => Ok(queue.pool(pool).depth()),
            Self::Redis(queue) => queue.depth(pool).await,
        }
    }

    /// Adds a worker to `monitor` that calls `handler` for the hints of `pool`, at most
    /// `concurrency` at a time.
    ///
    /// Each call runs as a task of its own. A panic is logged and counts as handled, so that a
    /// bad job cannot take its neighbours along or come back at once; the database decides what
    /// becomes of the job. When the monitor stops, hints that were not started go back.
    pub fn register<F, Fut>(
        &self,
        monitor: Monitor,
        pool: &str,
        concurrency: usize,
        handler: F,
    ) -> Monitor
    where
        F: Fn(JobHint) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let concurrency = concurrency.max(1);
        let (queue, pool): (Self, Arc<str>) = (self.clone(), pool.into());
        monitor.register(move |_restarts| {
            let name = format!("{pool}-{}", uuid::Uuid::new_v4().simple());
            let (handler, pool_of_task) = (handler.clone(), Arc::clone(&pool));
            WorkerBuilder::new(name.clone())
                .backend(HintBackend::new(queue.source(&pool, concurrency)))
                .concurrency(concurrency)
                .build(move |delivery: Delivery| {
                    backend::run(Arc::clone(&pool_of_task), delivery, handler.clone())
                })
        })
    }

    fn source(&self, pool: &str, concurrency: usize) -> Source {
        match self {
            Self::Memory(queue) => Source::Memory(queue.pool(pool)),
            Self::Redis(queue) => Source::Redis(RedisSource::new(queue, pool, concurrency)),
        }
    }
}
