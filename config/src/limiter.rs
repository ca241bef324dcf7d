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
    Ok,
    /// There is none; it may be asked again after this time.
    RetryAfter(Duration),
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
        match self {
            Self::Local(limiter) => limiter.acquire(key, burst, per, Instant::now()),
            Self::Redis(limiter) => limiter.acquire(key, burst, per).await,
        }
    }
}

/// The times of the last grants, by key; there are as many keys as limits.
#[derive(Default)]
pub struct LocalLimiter {
    granted: Mutex<HashMap<String, VecDeque<Instant>>>,
}

impl LocalLimiter {
    fn acquire(&self, key: &str, burst: NonZeroU32, per: Duration, now: Instant) -> Room {
        let mut all = self.granted.lock().unwrap_or_else(PoisonError::into_inner);
        let granted = all.entry(key.to_owned()).or_default();
        while granted.front().is_some_and(|first| now.duration_since(*first) >= per) {
            granted.pop_front();
        }
        match granted.front() {
            Some(first) if granted.len() >= burst.get() as usize => {
                Room::RetryAfter(per.saturating_sub(now.duration_since(*first)))
            }
            _ => {
                granted.push_back(now);
                Room::Ok
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
            assert_eq!(limiter.acquire("a", burst(20), PER).await, Room::Ok);
            tokio::time::advance(Duration::from_millis(100)).await;
        }
        let full = limiter.acquire("a", burst(20), PER).await;
        assert_eq!(full, Room::RetryAfter(Duration::from_secs(8)));
        assert_eq!(limiter.acquire("b", burst(20), PER).await, Room::Ok, "another limit");
        tokio::time::advance(Duration::from_secs(8)).await;
        assert_eq!(limiter.clone().acquire("a", burst(20), PER).await, Room::Ok);
        assert!(matches!(limiter.acquire("a", burst(20), PER).await, Room::RetryAfter(_)));
    }

    proptest! {
        #[test]
        fn no_span_of_that_length_sees_more(steps in proptest::collection::vec(0_u64..1_500, 1..200), count in 1_u32..8) {
            let limiter = LocalLimiter::default();
            let (mut now, mut granted) = (Instant::now(), Vec::new());
            for step in steps {
                now += Duration::from_millis(step);
                match limiter.acquire("x", burst(count), PER, now) {
                    Room::Ok => granted.push(now),
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
