//! The generic cell rate algorithm, pure: a bucket is one number, the time at which it will be
//! whole again. Whoever comes while that is too far ahead is refused; whoever is admitted moves
//! it on by one interval. In any span of time no more than burst + rate × time are admitted.
//!
//! The algorithm is that of ITU-T I.371, Annex A ("virtual scheduling"). Times are microseconds on
//! any clock that does not jump; the script on Redis does the same sums.

use std::{num::NonZeroU32, time::Duration};

const MINUTE: u64 = 60_000_000;

/// How much is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Microseconds for one request; at least 1.
    interval: u64,
    /// How many may come at once.
    burst: NonZeroU32,
    /// Whether it holds so much less that requests may be taken in advance.
    advances: bool,
}

impl Quota {
    /// So many in a minute, of which `burst` may come at once.
    #[must_use]
    pub fn per_minute(rate: NonZeroU32, burst: NonZeroU32) -> Self {
        // Rounded up: never more than the rate.
        Self { interval: MINUTE.div_ceil(u64::from(rate.get())), burst, advances: false }
    }

    /// How many may come at once.
    #[must_use]
    pub fn burst(self) -> u32 {
        self.burst.get()
    }

    /// How long an empty bucket takes to be whole again.
    #[must_use]
    pub fn window(self) -> Duration {
        Duration::from_micros(self.whole())
    }

    /// The same rate with `fewer` at once, but with one at least, for requests taken in advance.
    pub(super) fn for_advances(self, fewer: u64) -> Self {
        let fewer = u32::try_from(fewer).unwrap_or(u32::MAX);
        let burst = self.burst.get().saturating_sub(fewer);
        let burst = NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN);
        Self { burst, advances: true, ..self }
    }

    /// Whether requests may be taken in advance.
    pub(super) fn advances(self) -> bool {
        self.advances
    }

    /// The time that one request takes of it.
    pub(super) fn each(self) -> Duration {
        Duration::from_micros(self.interval)
    }

    pub(super) fn interval(self) -> u64 {
        self.interval
    }

    /// The same as [`Self::window`], in microseconds.
    pub(super) fn whole(self) -> u64 {
        self.interval.saturating_mul(u64::from(self.burst.get()))
    }

    /// How far the bucket is ahead of `now`, if it is to be whole at `whole_at`. A clock that was
    /// set back makes nobody wait longer than an empty bucket does.
    pub(super) fn ahead(self, whole_at: u64, now: u64) -> u64 {
        whole_at.saturating_sub(now).min(self.whole())
    }

    /// How long a bucket that is so far ahead refuses.
    pub(super) fn wait(self, ahead: u64) -> u64 {
        (ahead + self.interval).saturating_sub(self.whole())
    }

    /// What a bucket that is so far ahead has left.
    pub(super) fn standing(self, ahead: u64) -> Standing {
        let left = self.whole().saturating_sub(ahead) / self.interval;
        Standing {
            left: u32::try_from(left).unwrap_or(u32::MAX),
            whole_in: Duration::from_micros(ahead),
            refuses_for: Duration::from_micros(self.wait(ahead)),
        }
    }
}

/// What a bucket has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// How many more may come at once.
    pub left: u32,
    /// How long until it is whole again.
    pub whole_in: Duration,
    /// How long it refuses whoever comes; nothing while something is left.
    pub refuses_for: Duration,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn quota(rate: u32, burst: u32) -> Quota {
        Quota::per_minute(NonZeroU32::new(rate).unwrap(), NonZeroU32::new(burst).unwrap())
    }

    /// Asks one bucket; whether it admits, and how long it makes wait.
    fn ask(quota: Quota, whole_at: &mut u64, now: u64) -> Result<Standing, u64> {
        let ahead = quota.ahead(*whole_at, now);
        match quota.wait(ahead) {
            0 => {
                *whole_at = now + ahead + quota.interval();
                Ok(quota.standing(ahead + quota.interval()))
            }
            wait => Err(wait),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        /// Against the definition: for every two admitted requests, those from the one to the
        /// other are no more than burst + rate × time; and whoever waits as told is admitted.
        #[test]
        fn no_span_sees_more_than_burst_and_rate(
            rate in 1_u32..100_000, burst in 1_u32..20,
            steps in prop::collection::vec(0_u64..5_000_000, 1..150),
        ) {
            let quota = quota(rate, burst);
            let (mut whole_at, mut now, mut admitted) = (0, 1_000_000_000_000_u64, Vec::new());
            for step in steps {
                now += step;
                match ask(quota, &mut whole_at, now) {
                    Ok(standing) => {
                        admitted.push(now);
                        prop_assert!(standing.left < burst);
                        prop_assert!(standing.whole_in <= quota.window());
                    }
                    Err(wait) => {
                        let mut copy = whole_at;
                        prop_assert!(ask(quota, &mut copy, now + wait - 1).is_err());
                        prop_assert!(ask(quota, &mut copy, now + wait).is_ok());
                    }
                }
            }
            for (first, start) in admitted.iter().enumerate() {
                for (last, end) in admitted.iter().enumerate().skip(first) {
                    let came = u64::try_from(last - first + 1).unwrap();
                    let most = u64::from(burst) + (end - start) / quota.interval();
                    prop_assert!(came <= most, "{came} > {most}");
                }
            }
        }
    }

    #[test]
    fn a_bucket_tells_what_is_left() {
        let (quota, mut whole_at) = (quota(60, 3), 0);
        assert_eq!(quota.window(), Duration::from_secs(3));
        let left = |standing: Result<Standing, u64>| standing.map(|standing| standing.left);
        assert_eq!(left(ask(quota, &mut whole_at, 10)), Ok(2));
        assert_eq!(left(ask(quota, &mut whole_at, 10)), Ok(1));
        assert_eq!(left(ask(quota, &mut whole_at, 10)), Ok(0));
        assert_eq!(left(ask(quota, &mut whole_at, 10)), Err(1_000_000));
        assert_eq!(left(ask(quota, &mut whole_at, 1_000_010)), Ok(0));
        assert_eq!(left(ask(quota, &mut whole_at, 60_000_000)), Ok(2));
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_shut_a_bucket_for_long() {
        let (quota, mut whole_at) = (quota(60, 3), 3_600_000_000);
        assert_eq!(ask(quota, &mut whole_at, 0), Err(1_000_000));
    }
}
