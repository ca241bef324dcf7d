//! Limits on calls that all processes keep together: at most so many within a span of time.
//!
//! A provider counts our calls whichever process makes them, so the count is shared: one atomic
//! script on Redis between processes, a table in memory where there is one process. The limit is
//! exact: in no span of that length is more granted (a bucket that refills would allow twice as
//! much). What is stored is the times of the last grants, for no longer than they matter.
//!
//! While Redis is away nothing is granted: whoever asks comes back, and no limit is broken.

mod remote;

use std::{
    collections::{HashMap, VecDeque},
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::queue::{QueueError, RedisServer};

pub use remote::RedisLimiter;

/// What an asker gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// There is room, and it is taken.
    Ok(Grant),
    /// There is none; it may be asked again after this time.
    RetryAfter(Duration),
}

/// Room that was taken; by this its taker can take it anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant(u64);

impl Room {
    /// Whether there is room.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        matches!(self, Self::Ok(_))
    }
}

/// Grants calls. A clone is the same limiter.
#[derive(Clone)]
pub enum Limiter {
    /// For one process that does everything.
    Local(Arc<LocalLimiter>),
    /// For all processes that share a Redis.
    Redis(Arc<RedisLimiter>),
}

impl Limiter {
    /// A limiter inside this process.
    #[must_use]
    pub fn local() -> Self {
        Self::Local(Arc::default())
    }

    /// A limiter for all processes that use this server and `prefix`. It connects when it is first
    /// used.
    ///
    /// # Errors
    /// When the address cannot be one of a Redis.
    pub fn redis(server: impl Into<RedisServer>, prefix: &str) -> Result<Self, QueueError> {
        Ok(Self::Redis(Arc::new(RedisLimiter::new(&server.into(), prefix)?)))
    }

    /// Takes room for one call under `key`, if fewer than `burst` were granted within the last
    /// `per`. Room that is taken is not given back.
    pub async fn acquire(&self, key: &str, burst: NonZeroU32, per: Duration) -> Room {
        self.take(key, burst, per, None).await
    }

    /// Takes the room of `grant` anew, because its call goes out only now. There is room as long as
    /// the grant counts; one that does not count any more is asked for like any other.
    pub async fn renew(&self, key: &str, burst: NonZeroU32, per: Duration, grant: Grant) -> Room {
        self.take(key, burst, per, Some(grant)).await
    }

    async fn take(&self, key: &str, burst: NonZeroU32, per: Duration, own: Option<Grant>) -> Room {
        match self {
            Self::Local(limiter) => limiter.take(key, burst, per, own, Instant::now()),
            Self::Redis(limiter) => limiter.take(key, burst, per, own).await,
        }
    }
}

/// The last grants, by key; there are as many keys as limits.
#[derive(Default)]
pub struct LocalLimiter {
    granted: Mutex<HashMap<String, Grants>>,
}

/// The numbers and times of the last grants, in order.
#[derive(Default)]
struct Grants {
    last: VecDeque<(u64, Instant)>,
    next: u64,
}

impl LocalLimiter {
    fn take(
        &self,
        key: &str,
        burst: NonZeroU32,
        per: Duration,
        own: Option<Grant>,
        now: Instant,
    ) -> Room {
        let mut all = self.granted.lock().unwrap_or_else(PoisonError::into_inner);
        let granted = all.entry(key.to_owned()).or_default();
        granted.last.retain(|(number, at)| {
            now.duration_since(*at) < per && own.is_none_or(|own| own.0 != *number)
        });
        match granted.last.front() {
            Some((_, first)) if granted.last.len() >= burst.get() as usize => {
                Room::RetryAfter(per.saturating_sub(now.duration_since(*first)))
            }
            _ => {
                granted.next += 1;
                granted.last.push_back((granted.next, now));
                Room::Ok(Grant(granted.next))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PER: Duration = Duration::from_secs(10);

    fn burst(count: u32) -> NonZeroU32 {
        NonZeroU32::new(count).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn room_comes_back_when_the_oldest_call_is_old_enough() {
        let limiter = Limiter::local();
        for _ in 0..20 {
            assert!(limiter.acquire("a", burst(20), PER).await.is_ok());
            tokio::time::advance(Duration::from_millis(100)).await;
        }
        let full = limiter.acquire("a", burst(20), PER).await;
        assert_eq!(full, Room::RetryAfter(Duration::from_secs(8)));
        assert!(limiter.acquire("b", burst(20), PER).await.is_ok(), "another limit");
        tokio::time::advance(Duration::from_secs(8)).await;
        assert!(limiter.clone().acquire("a", burst(20), PER).await.is_ok());
        assert!(matches!(limiter.acquire("a", burst(20), PER).await, Room::RetryAfter(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn room_that_is_taken_anew_counts_once_and_from_then_on() {
        let limiter = Limiter::local();
        let Room::Ok(grant) = limiter.acquire("a", burst(2), PER).await else { panic!("full") };
        assert!(limiter.acquire("a", burst(2), PER).await.is_ok());
        tokio::time::advance(Duration::from_secs(4)).await;
        assert!(limiter.renew("a", burst(2), PER, grant).await.is_ok());
        tokio::time::advance(Duration::from_secs(7)).await;
        // The other one is forgotten; this one was sent seven seconds ago.
        assert!(limiter.acquire("a", burst(2), PER).await.is_ok());
        let full = limiter.acquire("a", burst(2), PER).await;
        assert_eq!(full, Room::RetryAfter(Duration::from_secs(3)));
        // A grant that does not count any more is no better than none.
        assert!(!limiter.renew("a", burst(2), PER, grant).await.is_ok());
    }

    proptest! {
        #[test]
        fn no_span_of_that_length_sees_more(steps in proptest::collection::vec(0_u64..1_500, 1..200), count in 1_u32..8) {
            let limiter = LocalLimiter::default();
            let (mut now, mut granted) = (Instant::now(), Vec::new());
            for step in steps {
                now += Duration::from_millis(step);
                match limiter.take("x", burst(count), PER, None, now) {
                    Room::Ok(_) => granted.push(now),
                    Room::RetryAfter(wait) => {
                        prop_assert!(wait > Duration::ZERO && wait <= PER);
                        // What it says is true: a moment earlier there would be no room.
                        let first = granted[granted.len() - count as usize];
                        prop_assert_eq!(now + wait, first + PER);
                    }
                }
            }
            for (index, start) in granted.iter().enumerate() {
                let within = granted[index..].iter().filter(|at| **at - *start < PER).count();
                prop_assert!(within <= count as usize);
            }
        }
    }
}
