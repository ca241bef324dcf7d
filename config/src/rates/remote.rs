//! Buckets on Redis: one script for all buckets of a request, on the clock of the Redis server.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use redis::Pipeline;
use tokio::time::Instant;

use super::{Answer, Bucket};
use crate::queue::{QueueError, RedisServer, link::Link};

/// How long Redis is not asked again after it did not answer.
const PAUSE: Duration = Duration::from_secs(1);

/// The sums of `gcra`. A key holds the time at which its bucket is whole again; `ARGV` has the
/// interval and the burst of each. Answers with how far each was ahead before.
const TAKE: &str = "
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local ahead, refused = {}, false
for i, key in ipairs(KEYS) do
    local interval, whole = tonumber(ARGV[2 * i - 1]), ARGV[2 * i - 1] * ARGV[2 * i]
    local whole_at = tonumber(redis.call('GET', key) or now)
    ahead[i] = math.min(math.max(whole_at - now, 0), whole)
    refused = refused or ahead[i] + interval > whole
end
if not refused then
    for i, key in ipairs(KEYS) do
        local next = ahead[i] + ARGV[2 * i - 1]
        redis.call('SET', key, string.format('%.0f', now + next), 'PX', math.ceil(next / 1000))
    end
end
return ahead
";

/// Buckets that processes share.
pub(super) struct RedisRates {
    link: Link,
    prefix: String,
    /// How long an answer may take: a request is not held up for longer.
    patience: Duration,
    /// What Redis knows the script by.
    hash: String,
    /// Until when Redis is not asked.
    pause: Mutex<Option<Instant>>,
}

impl RedisRates {
    pub(super) fn new(
        server: &RedisServer,
        prefix: &str,
        patience: Duration,
    ) -> Result<Self, QueueError> {
        let link = Link::new(server.client()?);
        let hash = redis::Script::new(TAKE).get_hash().to_owned();
        Ok(Self { link, prefix: prefix.to_owned(), patience, hash, pause: Mutex::new(None) })
    }

    /// `None`: Redis does not answer.
    pub(super) async fn take(&self, buckets: &[Bucket]) -> Option<Answer> {
        let now = Instant::now();
        if self.pause.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|end| now < end) {
            return None;
        }
        match self.ask(buckets).await {
            Ok(ahead) => Some(Answer::before(buckets, &ahead)),
            Err(error) => {
                let end = Instant::now() + PAUSE;
                let mut pause = self.pause.lock().unwrap_or_else(PoisonError::into_inner);
                // Others may have asked at the same time: it is told once.
                if pause.replace(end).is_none_or(|end| end < now) {
                    tracing::warn!(%error, "this process keeps rate limits for itself");
                }
                None
            }
        }
    }

    /// Sent twice after a broken connection, it takes twice: too careful, not too much.
    async fn ask(&self, buckets: &[Bucket]) -> Result<Vec<u64>, QueueError> {
        match self.link.query(&self.call("EVALSHA", &self.hash, buckets), self.patience).await {
            // The server began without it, or was restarted.
            Err(QueueError::Refused(text)) if text.to_uppercase().contains("NOSCRIPT") => {
                self.link.query(&self.call("EVAL", TAKE, buckets), self.patience).await
            }
            answer => answer,
        }
        .map(|(ahead,): (Vec<u64>,)| ahead)
    }

    fn call(&self, command: &str, script: &str, buckets: &[Bucket]) -> Pipeline {
        let mut pipeline = redis::pipe();
        let call = pipeline.cmd(command).arg(script).arg(buckets.len());
        for bucket in buckets {
            call.arg(format!("{}:rate:{}", self.prefix, bucket.key()));
        }
        for bucket in buckets {
            call.arg(bucket.quota.interval()).arg(bucket.quota.burst());
        }
        pipeline
    }
}
