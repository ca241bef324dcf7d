//! Delays and limits, as pure functions. Randomness is a parameter: `dice` is in 0..1.

use std::time::Duration;

/// A job must be claimed within this time.
pub const QUEUE_LIMIT: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a lost answer is waited for.
pub const UNCERTAIN_LIMIT: Duration = Duration::from_secs(15 * 60);

/// Proven refusals that end a job.
pub const MAX_REFUSALS: i32 = 5;

/// Lost leases without progress that end a job.
pub const MAX_LOST_LEASES: i32 = 5;

/// Failed copies of a job's media that end it; with [`store_delay`] about 20 minutes.
pub const MAX_STORE_TRIES: i32 = 12;

/// How long an idempotency key is kept.
pub const IDEMPOTENCY_LIMIT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// What a lease must have left beyond the longest request before anything is sent.
pub const LEASE_MARGIN: Duration = Duration::from_secs(5);

/// How long the poll loop gets, beyond a job's deadline, to cancel it at the provider before the
/// scheduler ends it without asking.
pub const DEADLINE_GRACE: Duration = Duration::from_secs(30);

/// The wait after the `n`th (from 1) proven refusal. Five of them fit 45 s: the waits sum up to
/// less than 1 + 3 + 8 + 16 s.
#[must_use]
pub fn refusal_delay(n: i32, dice: f64) -> Duration {
    let longest = match n {
        ..=1 => 1.0,
        2 => 3.0,
        3 => 8.0,
        _ => 16.0,
    };
    Duration::from_secs_f64(longest * (0.5 + 0.5 * dice.clamp(0.0, 1.0)))
}

/// The wait after being throttled: what the provider asked for, else 2 s; at most 5 minutes, plus
/// up to a quarter so that jobs do not come back all at once.
#[must_use]
pub fn throttle_delay(retry_after: Option<Duration>, dice: f64) -> Duration {
    let asked = retry_after
        .unwrap_or(Duration::from_secs(2))
        .clamp(Duration::from_millis(200), Duration::from_secs(300));
    asked.mul_f64(1.0 + 0.25 * dice.clamp(0.0, 1.0))
}

/// The wait while our account at the provider is at fault.
#[must_use]
pub fn account_delay(dice: f64) -> Duration {
    Duration::from_secs_f64(30.0 + 30.0 * dice.clamp(0.0, 1.0))
}

/// The wait after the `n`th (from 1) failed copy of media: full jitter, doubling up to 3 minutes.
#[must_use]
pub fn store_delay(n: i32, dice: f64) -> Duration {
    let longest = 2_f64.powi(n.clamp(0, 8)).min(180.0);
    Duration::from_secs_f64(longest * dice.clamp(0.05, 1.0))
}

/// The wait after the `polls`th (from 1) look in a row that was in vain: doubling up to 30 s.
#[must_use]
pub fn failed_poll_delay(polls: i32, dice: f64) -> Duration {
    let longest = 2_f64.powi(polls.clamp(0, 5)).min(30.0);
    Duration::from_secs_f64(longest * (0.5 + 0.5 * dice.clamp(0.0, 1.0)))
}

/// When a dispatched, unclaimed job's hint is pushed again: 5 s after the last push, doubling to
/// 60 s.
#[must_use]
pub fn push_again_after(pushes: i32) -> Duration {
    let doublings = u32::try_from(pushes.saturating_sub(1).clamp(0, 4)).unwrap_or(0);
    Duration::from_secs((5 * 2_u64.pow(doublings)).min(60))
}

/// How many unclaimed jobs a pool may have: enough to keep it busy, few enough for a small queue.
#[must_use]
pub fn pool_room(live_capacity: i64) -> i64 {
    live_capacity.saturating_mul(2).clamp(100, 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_refusals_fit_45_seconds() {
        let waits: Duration = (1..MAX_REFUSALS).map(|n| refusal_delay(n, 1.0)).sum();
        assert!(waits < Duration::from_secs(45), "{waits:?}");
    }

    #[test]
    fn pushes_are_repeated_after_5_s_doubling_to_60() {
        let waits: Vec<u64> = (1..8).map(|pushes| push_again_after(pushes).as_secs()).collect();
        assert_eq!(waits, [5, 10, 20, 40, 60, 60, 60]);
    }

    #[test]
    fn what_the_provider_asks_for_is_kept() {
        let asked = Duration::from_secs(7);
        assert!(throttle_delay(Some(asked), 0.0) >= asked);
        assert!(throttle_delay(Some(Duration::MAX), 1.0) <= Duration::from_secs(375));
        assert!(throttle_delay(Some(Duration::ZERO), 0.0) > Duration::ZERO);
    }

    #[test]
    fn the_room_of_a_pool_is_clamped() {
        assert_eq!([0, 60, 5_000, i64::MAX].map(pool_room), [100, 120, 1_000, 1_000]);
    }

    #[test]
    fn media_is_retried_for_a_quarter_of_an_hour_at_most_half_an_hour() {
        let total: Duration = (1..MAX_STORE_TRIES).map(|n| store_delay(n, 1.0)).sum();
        assert!((900..1_800).contains(&total.as_secs()), "{total:?}");
    }
}
