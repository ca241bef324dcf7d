//! The queue on Redis: one stream for each pool, read by one consumer group.
//!
//! A hint is added with `XADD`, delivered with a blocking `XREADGROUP`, kept alive with `XCLAIM`
//! while it is in somebody's hands, and removed with `XACK` and `XDEL` when it was handled. What a
//! dead worker held is claimed by another when the claim window has passed. Nothing stays behind.
//! Redis may be away at any time, from the start on: pushes fail fast, workers reconnect for ever.
//! It must be Redis 6.2 or newer, or Valkey.

mod entry;
mod hands;
mod keeper;
mod reader;
mod source;

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use entities::JobHint;
use redis::{Pipeline, Value};

use super::{
    BACKLOG_LIMIT, QueueError,
    link::{Link, RedisServer},
};
use entry::{GROUP, Keys};

pub(super) use hands::Ticket;
pub(super) use source::RedisSource;

/// Hints sent in one pipeline; more are sent in several.
const CHUNK: usize = 1000;

/// How the queue on Redis is reached and how it behaves.
#[derive(Debug, Clone)]
pub struct RedisQueueSettings {
    /// Where Redis is.
    pub server: RedisServer,
    /// What all keys begin with.
    pub prefix: String,
    /// How long a hint may stay with a worker that shows no sign of life before another takes
    /// it; it should not be shorter than the database lease of a job.
    pub claim_window: Duration,
    /// How long a push may take.
    pub push_timeout: Duration,
    /// More hints than this in one pool are refused.
    pub backlog_limit: u64,
}

impl RedisQueueSettings {
    /// The defaults, for the server at an address.
    pub fn new(server: impl Into<RedisServer>) -> Self {
        Self {
            server: server.into(),
            prefix: "tiktomato".to_owned(),
            claim_window: Duration::from_secs(30),
            push_timeout: Duration::from_secs(1),
            backlog_limit: BACKLOG_LIMIT as u64,
        }
    }
}

/// The queue on Redis.
pub struct RedisQueue {
    link: Link,
    prefix: String,
    claim_window: Duration,
    push_timeout: Duration,
    backlog_limit: u64,
    /// Pools whose last push found the limit reached.
    full: Mutex<HashSet<String>>,
}

impl RedisQueue {
    pub(super) fn new(settings: RedisQueueSettings) -> Result<Self, QueueError> {
        Ok(Self {
            link: Link::new(settings.server.client()?),
            prefix: settings.prefix,
            claim_window: settings.claim_window.max(Duration::from_millis(100)),
            push_timeout: settings.push_timeout,
            backlog_limit: settings.backlog_limit,
            full: Mutex::default(),
        })
    }

    pub(super) async fn push(&self, pool: &str, hints: &[JobHint]) -> Result<(), QueueError> {
        let stream = Keys::new(&self.prefix, pool).stream;
        for chunk in hints.chunks(CHUNK) {
            if self.is_full(pool) && !self.has_room(pool, &stream, redis::pipe()).await? {
                return Err(QueueError::Full { pool: pool.to_owned() });
            }
            let mut pipeline = Pipeline::with_capacity(chunk.len() + 1);
            for hint in chunk {
                entry::add(&mut pipeline, &stream, hint);
            }
            self.has_room(pool, &stream, pipeline).await?;
        }
        Ok(())
    }

    /// Runs `pipeline`, and notes whether the stream is below its limit then.
    async fn has_room(
        &self,
        pool: &str,
        stream: &str,
        mut pipeline: Pipeline,
    ) -> Result<bool, QueueError> {
        pipeline.cmd("XLEN").arg(stream);
        let mut replies: Vec<Value> = self.link.query(&pipeline, self.push_timeout).await?;
        let length = replies.pop().and_then(|reply| redis::from_redis_value::<u64>(reply).ok());
        let room = length.is_none_or(|length| length < self.backlog_limit);
        let mut full = self.full.lock().unwrap_or_else(PoisonError::into_inner);
        if room {
            full.remove(pool);
        } else {
            full.insert(pool.to_owned());
        }
        Ok(room)
    }

    fn is_full(&self, pool: &str) -> bool {
        self.full.lock().unwrap_or_else(PoisonError::into_inner).contains(pool)
    }

    pub(super) async fn depth(&self, pool: &str) -> Result<u64, QueueError> {
        let stream = Keys::new(&self.prefix, pool).stream;
        let (mut length, mut pending) = (redis::pipe(), redis::pipe());
        length.cmd("XLEN").arg(&stream);
        pending.cmd("XPENDING").arg(&stream).arg(GROUP);
        let (length, pending) = tokio::join!(
            self.link.query::<(u64,)>(&length, self.push_timeout),
            self.link.query::<((u64, Value, Value, Value),)>(&pending, self.push_timeout),
        );
        let pending = match pending {
            Ok(((pending, ..),)) => pending,
            // No worker has come yet, so there is no group.
            Err(QueueError::Refused(_)) => 0,
            Err(error) => return Err(error),
        };
        Ok(length?.0.saturating_sub(pending))
    }
}
