//! The one layer that repeats calls to outside services at once: reads, cancels, lookups and
//! fetches, which are safe to repeat. A submit is never repeated here; what a job does after a
//! refusal, or after all this was in vain, is in its row (`entities::job::policy`).
//!
//! Waits are exponential with full jitter (the `backoff` crate, which only this module uses), or
//! what the service asks for. Repeats are paid out of a budget: each fresh call adds a tenth of
//! one. A service that is down gets at most a tenth more calls than it would without this layer.
//! The budget is each process's own: a tenth of each is a tenth of all.

use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use backoff::{Error, ExponentialBackoff, ExponentialBackoffBuilder};
use config::{net::FetchError, telemetry::Metrics};

use crate::providers::Refusal;

/// Calls in all, the first one included.
const TRIES: u32 = 3;
/// The first wait is up to this, the next up to twice as much.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// A service that asks for more patience is left to the job's own schedule.
const LONGEST_WAIT: Duration = Duration::from_secs(3);
/// The longest that a job waits for a look or a copy because the service asks for it: its deadline may
/// pass meanwhile, or the provider's file expire.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5 * 60);
/// No more is tried after this time.
const LONGEST: Duration = Duration::from_secs(20);

/// What a fresh call adds to the budget.
const SHARE: f64 = 0.1;
/// The most that is saved up: a burst of repeats after a long quiet time.
const SAVED: f64 = 10.0;
/// What there is at the start.
const START: f64 = 1.0;

/// Whether a failure is worth another try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Again {
    /// It is not.
    No,
    /// It is.
    Soon,
    /// It is, after this time.
    After(Duration),
}

/// The repeats of calls to one provider. A clone is the same.
#[derive(Clone)]
pub struct Retries(Arc<Inner>);

struct Inner {
    provider: &'static str,
    budget: Mutex<f64>,
    metrics: OnceLock<Metrics>,
}

impl Retries {
    /// A new budget.
    #[must_use]
    pub fn new(provider: &'static str) -> Self {
        Self(Arc::new(Inner { provider, budget: Mutex::new(START), metrics: OnceLock::new() }))
    }

    /// Repeats are counted there from now on.
    pub(crate) fn count_in(&self, metrics: Metrics) {
        // Set before: then they are the same metrics.
        drop(self.0.metrics.set(metrics));
    }

    /// A call goes out that is no repeat.
    pub(crate) fn fresh(&self) {
        let mut budget = self.0.budget.lock().unwrap_or_else(PoisonError::into_inner);
        *budget = (*budget + SHARE).min(SAVED);
    }

    /// Pays for a repeat, if it can be paid.
    fn pay(&self, operation: &'static str) -> bool {
        let mut budget = self.0.budget.lock().unwrap_or_else(PoisonError::into_inner);
        let paid = *budget >= 1.0;
        if paid {
            *budget -= 1.0;
        }
        drop(budget);
        if let Some(metrics) = self.0.metrics.get() {
            metrics.provider_retry(self.0.provider, operation, paid);
        }
        paid
    }

    /// Asks, and asks again while that is worth it and the budget pays.
    pub(crate) async fn run<T, E, A>(
        &self,
        operation: &'static str,
        again: impl Fn(&E) -> Again + Copy,
        mut ask: impl FnMut() -> A,
    ) -> Result<T, E>
    where
        A: Future<Output = Result<T, E>>,
    {
        self.fresh();
        let left = AtomicU32::new(TRIES - 1);
        let (retries, left) = (self, &left);
        backoff::future::retry(full_jitter(), || {
            let answer = ask();
            async move {
                let error = match answer.await {
                    Ok(value) => return Ok(value),
                    Err(error) => error,
                };
                let retry_after = match again(&error) {
                    Again::No => return Err(Error::Permanent(error)),
                    Again::After(wait) if wait > LONGEST_WAIT => {
                        return Err(Error::Permanent(error));
                    }
                    Again::After(wait) => Some(wait.mul_f64(1.0 + config::random::dice() / 4.0)),
                    Again::Soon => None,
                };
                if left.load(Ordering::Relaxed) == 0 || !retries.pay(operation) {
                    return Err(Error::Permanent(error));
                }
                left.fetch_sub(1, Ordering::Relaxed);
                Err(Error::Transient { err: error, retry_after })
            }
        })
        .await
    }
}

/// The crate draws from interval ± factor × interval: with a factor of one, from zero to twice the
/// interval.
fn full_jitter() -> ExponentialBackoff {
    ExponentialBackoffBuilder::new()
        .with_initial_interval(FIRST_WAIT / 2)
        .with_multiplier(2.0)
        .with_randomization_factor(1.0)
        .with_max_interval(LONGEST_WAIT / 2)
        .with_max_elapsed_time(Some(LONGEST))
        .build()
}

/// A look, a lookup or a cancel that failed.
pub(crate) fn refusal(refusal: &Refusal) -> Again {
    match refusal {
        Refusal::Unavailable(_) | Refusal::Unknown(_) => Again::Soon,
        Refusal::Throttled { retry_after: Some(wait) }
        | Refusal::Busy { retry_after: wait, .. } => Again::After(*wait),
        Refusal::Throttled { retry_after: None }
        | Refusal::Rejected(_)
        | Refusal::Moderated
        | Refusal::Account(_) => Again::No,
    }
}

/// How long a provider that is busy asks to be left alone, as far as that is kept.
pub(crate) fn asked(refusal: &Refusal) -> Option<Duration> {
    match refusal {
        Refusal::Throttled { retry_after } => *retry_after,
        Refusal::Busy { retry_after, .. } => Some(*retry_after),
        Refusal::Rejected(_)
        | Refusal::Moderated
        | Refusal::Unavailable(_)
        | Refusal::Unknown(_)
        | Refusal::Account(_) => None,
    }
    .map(|asked| asked.min(PATIENCE))
}

/// Media that was not delivered.
pub(crate) fn fetch(error: &FetchError) -> Again {
    match error {
        FetchError::Failed(_) => Again::Soon,
        FetchError::Busy(wait) => Again::After(*wait),
        FetchError::Forbidden(_) | FetchError::TooLarge(_) => Again::No,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Makes so many calls that all fail; how often the service was asked.
    async fn all_fail(retries: &Retries, calls: u32, again: Again) -> u32 {
        let asked = Cell::new(0);
        for _ in 0..calls {
            let answer: Result<(), &str> = retries
                .run(
                    "poll",
                    |_| again,
                    || {
                        asked.set(asked.get() + 1);
                        async { Err("down") }
                    },
                )
                .await;
            assert_eq!(answer, Err("down"));
        }
        asked.get()
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_that_is_down_gets_a_tenth_more() {
        let retries = Retries::new("test");
        let asked = all_fail(&retries, 200, Again::Soon).await;
        assert!((215..=221).contains(&asked), "{asked}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_saved_up_is_bounded_and_so_are_tries() {
        let retries = Retries::new("test");
        for _ in 0..10_000 {
            retries.fresh();
        }
        assert_eq!(all_fail(&retries, 1, Again::Soon).await, TRIES);
        let asked = all_fail(&retries, 10, Again::Soon).await;
        assert!(asked <= 10 + 9, "{asked}");
        assert_eq!(all_fail(&retries, 5, Again::No).await, 5);
        let patience = Again::After(LONGEST_WAIT + Duration::from_millis(1));
        assert_eq!(all_fail(&retries, 5, patience).await, 5);
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_service_asks_for_is_kept() {
        let retries = Retries::new("test");
        let (began, asked) = (tokio::time::Instant::now(), Cell::new(0));
        let answer: Result<u32, ()> = retries
            .run(
                "poll",
                |()| Again::After(Duration::from_secs(2)),
                || {
                    asked.set(asked.get() + 1);
                    let number = asked.get();
                    async move { if number == 1 { Err(()) } else { Ok(number) } }
                },
            )
            .await;
        assert_eq!(answer, Ok(2));
        let waited = began.elapsed();
        assert!(waited >= Duration::from_secs(2) && waited <= Duration::from_millis(2_600));
    }

    #[test]
    fn waits_have_full_jitter() {
        use backoff::backoff::Backoff as _;
        let first: Vec<Duration> =
            (0..500).map(|_| full_jitter().next_backoff().unwrap()).collect();
        assert!(first.iter().all(|wait| *wait <= FIRST_WAIT));
        assert!(first.iter().any(|wait| *wait < FIRST_WAIT / 10));
        assert!(first.iter().any(|wait| *wait > FIRST_WAIT * 9 / 10));
    }
}
