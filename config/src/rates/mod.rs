//! How often somebody may ask: buckets that all gateways fill together.
//!
//! | file | what |
//! |---|---|
//! | `gcra` | the algorithm, pure |
//! | `local` | buckets in this process |
//! | `remote` | buckets on Redis: one script and one round trip for all requests that wait |
//! | `advance` | what was taken from those in advance, for whoever asks often |
//!
//! A request asks all of its buckets at once: either all admit it, or nothing is taken from any.
//! A bucket is forgotten when it is whole again, so an address is kept for seconds. While Redis is
//! away, or slower than it may be, the buckets of this process alone decide: requests are answered,
//! and each gateway keeps the limits for itself.

mod advance;
mod gcra;
mod local;
mod remote;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

pub use gcra::{Quota, Standing};
use local::LocalRates;
use remote::RedisRates;
use tokio::time::Instant;

use crate::queue::{QueueError, RedisServer};

/// One bucket that a request asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    /// Which limit it is; told to the client.
    pub limit: &'static str,
    /// Whose bucket: an id or an address.
    pub owner: String,
    /// How much is allowed.
    pub quota: Quota,
}

impl Bucket {
    fn key(&self) -> String {
        format!("{}:{}", self.limit, self.owner)
    }
}

/// What the buckets say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// `None`: admitted. Otherwise when it is worth to come back.
    pub retry_after: Option<Duration>,
    /// What each bucket has left, in the order in which they were asked.
    pub standings: Vec<Standing>,
}

impl Answer {
    /// From how far each bucket was ahead before anything was taken.
    fn before(buckets: impl Iterator<Item = (Quota, u64)> + Clone) -> Self {
        let waits = buckets.clone().map(|(quota, ahead)| quota.wait(ahead));
        let wait = waits.max().unwrap_or(0);
        let standings = buckets.map(|(quota, ahead)| {
            let taken = if wait == 0 { quota.interval() } else { 0 };
            quota.standing(ahead + taken)
        });
        Self {
            retry_after: (wait > 0).then(|| Duration::from_micros(wait)),
            standings: standings.collect(),
        }
    }
}

/// Keeps the buckets. A clone keeps the same ones.
#[derive(Clone)]
pub struct Rates {
    local: Arc<LocalRates>,
    shared: Option<Arc<RedisRates>>,
    refused: Arc<Mutex<HashMap<String, Instant>>>,
}

/// The most refusals that are remembered.
const REFUSALS: usize = 10_000;

impl Rates {
    /// Buckets in this process.
    #[must_use]
    pub fn local() -> Self {
        Self { local: Arc::default(), shared: None, refused: Arc::default() }
    }

    /// Buckets that all processes with this server and prefix share; an answer takes no longer than
    /// `patience`. It connects when it is first used.
    ///
    /// # Errors
    /// When the address cannot be one of a Redis.
    pub fn redis(
        server: impl Into<RedisServer>,
        prefix: &str,
        patience: Duration,
    ) -> Result<Self, QueueError> {
        let shared = RedisRates::new(&server.into(), prefix, patience)?;
        let shared = Some(Arc::new(shared));
        Ok(Self { local: Arc::default(), shared, refused: Arc::default() })
    }

    /// What a bucket with this quota holds here: where processes share buckets, and take from them in
    /// advance, a little less.
    #[must_use]
    pub fn kept(&self, quota: Quota) -> Quota {
        if self.shared.is_some() { advance::kept(quota) } else { quota }
    }

    /// Takes one request from each bucket, or nothing from any.
    pub async fn take(&self, buckets: &[Bucket]) -> Answer {
        if buckets.is_empty() {
            return Answer { retry_after: None, standings: Vec::new() };
        }
        let shared = match &self.shared {
            Some(shared) => shared.take(buckets).await,
            None => None,
        };
        let answer = shared.unwrap_or_else(|| self.local.take(buckets));
        if answer.retry_after.is_some() {
            self.remember(buckets, &answer);
        }
        answer
    }

    /// The refusal that this bucket is known to give without being asked: whom it refused just
    /// now it refuses until the time that it said, because nobody can make it whole sooner.
    #[must_use]
    pub fn refusal(&self, bucket: &Bucket) -> Option<Answer> {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let end = *refused.get(&bucket.key())?;
        let wait = end.checked_duration_since(Instant::now()).filter(|wait| !wait.is_zero())?;
        let whole_in = wait + bucket.quota.window().saturating_sub(bucket.quota.each());
        let standing = Standing { left: 0, whole_in, refuses_for: wait };
        Some(Answer { retry_after: Some(wait), standings: vec![standing] })
    }

    fn remember(&self, buckets: &[Bucket], answer: &Answer) {
        let now = Instant::now();
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.len() >= REFUSALS {
            refused.retain(|_, end| *end > now);
        }
        if refused.len() >= REFUSALS {
            return;
        }
        for (bucket, standing) in buckets.iter().zip(&answer.standings) {
            if !standing.refuses_for.is_zero() {
                refused.insert(bucket.key(), now + standing.refuses_for);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn bucket(owner: &str, burst: u32) -> Bucket {
        let quota = Quota::per_minute(NonZeroU32::MIN, NonZeroU32::new(burst).unwrap());
        Bucket { limit: "test", owner: owner.to_owned(), quota }
    }

    #[tokio::test]
    async fn a_refusal_takes_nothing_from_the_other_buckets() {
        let rates = Rates::local();
        let (small, large) = (bucket("small", 1), bucket("large", 3));
        let both = [small.clone(), large.clone()];
        let first = rates.take(&both).await;
        assert_eq!(first.retry_after, None);
        assert_eq!(first.standings.iter().map(|s| s.left).collect::<Vec<_>>(), [0, 2]);
        for _ in 0..5 {
            let refused = rates.take(&both).await;
            assert!(refused.retry_after.is_some_and(|wait| wait > Duration::from_secs(55)));
            assert_eq!(refused.standings[1].left, 2);
        }
        assert!(rates.refusal(&small).is_some_and(|answer| answer.retry_after.is_some()));
        assert_eq!(rates.refusal(&large), None);
        assert_eq!(rates.take(&[large]).await.standings[0].left, 1);
        assert_eq!(rates.take(&[]).await.retry_after, None);
    }
}
