//! What was taken from shared buckets in advance. Who asks a hundred times a second lets a gateway
//! take, with the request of the moment, what it will likely need within the next few milliseconds:
//! those requests then ask nobody.
//!
//! Stored, in this process: for each bucket that was asked lately, what is left of the last advance
//! and how often it was asked since. An advance is used within [`SPAN`] or forfeited.
//!
//! No limit is broken by it. GCRA counts a request at the time of its taking, here up to `SPAN` before
//! its use, so that a span of time may see what was taken `SPAN` earlier: buckets that may be taken
//! from in advance therefore hold so much less ([`kept`]). Nothing is taken in advance from a bucket
//! that is half empty, so that near its end a limit is exact.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::Quota;

/// How long an advance may be used.
const SPAN: Duration = Duration::from_millis(100);

/// Microseconds of `SPAN`.
const SPAN_MICROS: u64 = SPAN.as_micros() as u64;

/// How long a bucket that nobody asks is remembered.
const REMEMBERED: Duration = Duration::from_secs(2);

/// The most of a bucket that is taken in advance at once: one part of so many.
const PART: u64 = 32;

/// The fewest that are worth taking in advance: of fewer, most would be forfeited.
const FEWEST: f64 = 3.0;

/// What a bucket with this quota holds where it may be taken from in advance. Nothing is taken in
/// advance from one that admits few or that fills up at once; it stays as it is.
pub(super) fn kept(quota: Quota) -> Quota {
    let (burst, each) = (u64::from(quota.burst()), quota.interval());
    let lost = SPAN_MICROS.div_ceil(each);
    if each * 4 <= SPAN_MICROS && lost * PART <= burst { quota.for_advances(lost) } else { quota }
}

/// One bucket's advance.
struct Advance {
    /// How many requests it still admits.
    left: u32,
    /// When it was taken, or the bucket was asked last.
    since: Instant,
    /// How far the bucket was ahead then, the advance included.
    ahead: u64,
    /// How often it was asked since.
    asked: u32,
}

impl Advance {
    fn is_good(&self, now: Instant) -> bool {
        self.left > 0 && now.saturating_duration_since(self.since) < SPAN
    }

    /// How far the bucket is ahead before the next of the advance.
    fn ahead(&self, quota: Quota, now: Instant) -> u64 {
        let gone = now.saturating_duration_since(self.since).as_micros();
        let unused = u64::from(self.left) * quota.interval();
        self.ahead.saturating_sub(unused).saturating_sub(u64::try_from(gone).unwrap_or(u64::MAX))
    }
}

/// The advances of a process.
#[derive(Default)]
pub(super) struct Advances {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    advances: HashMap<String, Advance>,
    cleaned: Option<Instant>,
}

impl Advances {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Nothing can panic while it is held.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Uses one of each bucket's advance, or of none; how far each was ahead before it.
    pub(super) fn spend(&self, asked: &[(String, Quota)], now: Instant) -> Option<Vec<u64>> {
        let mut kept = self.kept();
        let good = |(key, _): &(String, Quota)| {
            kept.advances.get(key).is_some_and(|advance| advance.is_good(now))
        };
        if !asked.iter().all(good) {
            return None;
        }
        let mut ahead = Vec::with_capacity(asked.len());
        for (key, quota) in asked {
            let advance = kept.advances.get_mut(key)?;
            ahead.push(advance.ahead(*quota, now));
            advance.left -= 1;
            advance.asked = advance.asked.saturating_add(1);
        }
        Some(ahead)
    }

    /// How many are worth taking in advance from a bucket that is about to be asked for `asks`
    /// requests: what would be asked within the span if it goes on as it went, less what is left.
    pub(super) fn worth(&self, key: &str, quota: Quota, asks: u32, now: Instant) -> Worth {
        if !quota.advances() {
            return Worth::Nothing;
        }
        let mut kept = self.kept();
        kept.clean(now);
        let Some(advance) = kept.advances.get_mut(key) else {
            let new = Advance { left: 0, since: now, ahead: 0, asked: asks };
            kept.advances.insert(key.to_owned(), new);
            return Worth::Nothing;
        };
        advance.asked = advance.asked.saturating_add(asks);
        if advance.is_good(now) {
            return Worth::Enough;
        }
        let gone = now.saturating_duration_since(advance.since).max(SPAN / 10);
        let expected = f64::from(advance.asked) * SPAN.as_secs_f64() / gone.as_secs_f64();
        let most = u32::try_from(u64::from(quota.burst()) / PART).unwrap_or(u32::MAX);
        // A little more, so that it lasts to the end of the span.
        let more = ((expected * 1.25) as u32).min(most);
        if expected < FEWEST { Worth::Nothing } else { Worth::Some(more) }
    }

    /// Notes what was asked of Redis at `since` and granted in advance; none while another advance
    /// is good.
    pub(super) fn granted(&self, key: &str, count: u32, ahead: u64, since: Instant) {
        let mut kept = self.kept();
        if let Some(advance) = kept.advances.get_mut(key)
            && !advance.is_good(since)
        {
            *advance = Advance { left: count, since, ahead, asked: 0 };
        }
    }
}

/// What is worth taking in advance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Worth {
    Nothing,
    /// The last advance is still good.
    Enough,
    Some(u32),
}

impl Kept {
    /// Forgets who asks no more.
    fn clean(&mut self, now: Instant) {
        let cleaned = *self.cleaned.get_or_insert(now);
        if now.saturating_duration_since(cleaned) >= REMEMBERED {
            self.advances
                .retain(|_, advance| now.saturating_duration_since(advance.since) < REMEMBERED);
            self.cleaned = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn quota(rate: u32, burst: u32) -> Quota {
        Quota::per_minute(NonZeroU32::new(rate).unwrap(), NonZeroU32::new(burst).unwrap())
    }

    const MILLI: Duration = Duration::from_millis(1);

    #[tokio::test(start_paused = true)]
    async fn who_asks_often_is_given_in_advance() {
        let (advances, quota) = (Advances::default(), kept(quota(60_000, 10_000)));
        assert_eq!(quota.burst(), 9_900, "what 100 ms bring is kept back");
        let asked = [("a".to_owned(), quota)];
        let began = Instant::now();
        assert_eq!(advances.worth("a", quota, 1, began), Worth::Nothing, "nothing is known of it");
        assert_eq!(advances.spend(&asked, began), None);
        let now = began + 10 * MILLI;
        assert_eq!(advances.worth("a", quota, 9, now), Worth::Some(125), "10 in 10 ms");
        advances.granted("a", 125, 135_000, now);
        // 10 of the moment and 125 to come, 1 ms each; 4 ms later it is 4 ms nearer to its whole.
        assert_eq!(advances.spend(&asked, now + 4 * MILLI), Some(vec![6_000]));
        assert_eq!(advances.spend(&asked, now + 4 * MILLI), Some(vec![7_000]));
        let both = [asked[0].clone(), ("b".to_owned(), quota)];
        assert_eq!(advances.spend(&both, now + 4 * MILLI), None, "all or nothing");
        // Another ask finds the advance good, and does not take it away.
        assert_eq!(advances.worth("a", quota, 1, now + 4 * MILLI), Worth::Enough);
        advances.granted("a", 0, 1, now + 4 * MILLI);
        assert_eq!(advances.spend(&asked, now + 4 * MILLI), Some(vec![8_000]));
        assert_eq!(advances.spend(&asked, now + SPAN), None, "forfeited");
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_seldom_or_of_a_small_bucket_is_not() {
        let (advances, large, small) =
            (Advances::default(), kept(quota(60_000, 10_000)), kept(quota(600, 100)));
        assert_eq!(small, quota(600, 100));
        let mut now = Instant::now();
        for _ in 0..20 {
            assert_eq!(advances.worth("large", large, 1, now), Worth::Nothing);
            advances.granted("large", 0, 0, now);
            for _ in 0..50 {
                assert_eq!(advances.worth("small", small, 1, now), Worth::Nothing);
            }
            now += 50 * MILLI;
        }
        // Whoever has gone is forgotten.
        now += 2 * REMEMBERED;
        advances.worth("other", large, 1, now);
        assert_eq!(advances.kept().advances.len(), 1);
    }
}
