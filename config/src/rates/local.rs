//! Buckets in this process: for everything in one process, and for a gateway whose Redis is away.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use tokio::time::Instant;

use super::{Answer, Bucket};

/// Below this many buckets nobody looks for those that are whole again.
const FEW: usize = 1_024;

/// The buckets that are not whole.
pub(super) struct LocalRates {
    begun: Instant,
    buckets: Mutex<Buckets>,
}

struct Buckets {
    whole_at: HashMap<String, u64>,
    /// When there are so many, those that are whole again are thrown away.
    clean_at: usize,
}

impl Default for LocalRates {
    fn default() -> Self {
        let buckets = Buckets { whole_at: HashMap::new(), clean_at: FEW };
        Self { begun: Instant::now(), buckets: Mutex::new(buckets) }
    }
}

impl LocalRates {
    pub(super) fn take(&self, asked: &[Bucket]) -> Answer {
        let now = u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        // No panic can happen while it is held.
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let keys: Vec<String> = asked.iter().map(Bucket::key).collect();
        let ahead: Vec<u64> = asked
            .iter()
            .zip(&keys)
            .map(|(bucket, key)| {
                let whole_at = buckets.whole_at.get(key).copied().unwrap_or(now);
                bucket.quota.ahead(whole_at, now)
            })
            .collect();
        let quotas = asked.iter().map(|bucket| bucket.quota);
        let answer = Answer::before(quotas.zip(ahead.iter().copied()));
        if answer.retry_after.is_none() {
            for ((bucket, key), ahead) in asked.iter().zip(keys).zip(ahead) {
                buckets.whole_at.insert(key, now + ahead + bucket.quota.interval());
            }
        }
        if buckets.whole_at.len() >= buckets.clean_at {
            buckets.whole_at.retain(|_, whole_at| *whole_at > now);
            // Twice what is left, so that cleaning costs little per request.
            buckets.clean_at = (2 * buckets.whole_at.len()).max(FEW);
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use std::{num::NonZeroU32, time::Duration};

    use super::{super::Quota, *};

    #[tokio::test(start_paused = true)]
    async fn buckets_that_are_whole_again_are_forgotten() {
        let rates = LocalRates::default();
        let quota = Quota::per_minute(NonZeroU32::new(60).unwrap(), NonZeroU32::MIN);
        for round in 0..20 {
            for n in 0..500 {
                let owner = format!("{round}:{n}");
                let answer = rates.take(&[Bucket { limit: "x", owner, quota }]);
                assert_eq!(answer.retry_after, None);
            }
            tokio::time::advance(Duration::from_secs(2)).await;
        }
        assert!(rates.buckets.lock().unwrap().whole_at.len() <= FEW);
    }
}
