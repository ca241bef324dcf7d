//! How often a pool looks at calls that run: as its provider's adapter says for one call, more
//! rarely while callbacks come, and more rarely again when so many calls are in flight that all
//! looks together would be more than the pool may make.
//!
//! Every process of a pool counts all calls in flight, so that together they keep the limit.
//! Nothing is stored.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How long after a good callback the pool trusts that more will come.
const TRUST: Duration = Duration::from_secs(300);
/// Looks are this much rarer meanwhile,
const SLOWER: u32 = 4;
/// but never rarer than this because of it.
const SLOWEST: Duration = Duration::from_secs(60);
/// No crowd makes looks rarer than this; a deadline is seen to in time.
const RAREST: Duration = Duration::from_secs(5 * 60);
/// One look has this part in the mean of waits.
const PART: f64 = 1.0 / 64.0;

/// The pace of one pool's looks.
#[derive(Debug)]
pub(crate) struct Cadence {
    /// The most looks a second.
    most: f64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// When a callback was last good for something.
    reported: Option<Instant>,
    /// Calls in flight in all processes.
    in_flight: u32,
    /// The wait that was asked for, in seconds, over the last looks.
    mean: Option<f64>,
}

impl Cadence {
    /// For a pool that may make so many looks a second.
    pub(crate) fn new(most: f64) -> Self {
        Self { most: most.max(f64::MIN_POSITIVE), state: Mutex::default() }
    }

    /// A callback was good for something.
    pub(crate) fn reported(&self) {
        self.state().reported = Some(Instant::now());
    }

    /// So many calls are in flight.
    pub(crate) fn in_flight(&self, count: u32) {
        self.state().in_flight = count;
    }

    /// How long to wait for the next look at a call, of which its provider's adapter says `wait`.
    pub(crate) fn wait(&self, wait: Duration) -> Duration {
        let mut state = self.state();
        let trusted = state.reported.is_some_and(|last| last.elapsed() < TRUST);
        let wait = if trusted { (wait * SLOWER).min(SLOWEST).max(wait) } else { wait };
        // Calls that are looked at often have as much more part in this mean, so that all of them
        // together ask for `in_flight / mean` looks a second.
        let seconds = wait.as_secs_f64();
        let mean = state.mean.map_or(seconds, |mean| mean + (seconds - mean) * PART);
        state.mean = Some(mean);
        let asked = f64::from(state.in_flight) / mean.max(0.001);
        // A callback makes the look unnecessary.
        let most = if trusted { self.most / f64::from(SLOWER) } else { self.most };
        if asked <= most {
            return wait;
        }
        wait.mul_f64(asked / most).min(RAREST.max(wait))
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn looks_are_rarer_while_callbacks_come() {
        let cadence = Cadence::new(100.0);
        assert_eq!(cadence.wait(SECOND), SECOND);
        cadence.reported();
        assert_eq!(cadence.wait(SECOND), SECOND * 4);
        assert_eq!(cadence.wait(SECOND * 30), SLOWEST);
        assert_eq!(cadence.wait(SECOND * 90), SECOND * 90);
    }

    #[test]
    fn a_crowd_is_looked_at_no_more_often_than_allowed() {
        let cadence = Cadence::new(100.0);
        cadence.in_flight(50);
        assert_eq!(cadence.wait(SECOND), SECOND, "50 looks a second");
        // A thousand short calls and nine thousand long ones, as they would be looked at.
        cadence.in_flight(10_000);
        let (mut short, mut long) = (SECOND, SECOND * 10);
        for _ in 0..200 {
            // Within ten seconds a short one is looked at ten times, a long one once.
            for _ in 0..10 {
                short = cadence.wait(SECOND);
            }
            for _ in 0..9 {
                long = cadence.wait(SECOND * 10);
            }
        }
        let looks = 1_000.0 / short.as_secs_f64() + 9_000.0 / long.as_secs_f64();
        assert!((80.0..125.0).contains(&looks), "{looks} looks a second");
        assert!(
            long > short * 8,
            "who is soon done is still looked at more often: {short:?} {long:?}"
        );
        cadence.in_flight(10);
        assert_eq!(cadence.wait(SECOND), SECOND);
    }

    #[test]
    fn nobody_is_forgotten() {
        let cadence = Cadence::new(0.1);
        cadence.in_flight(u32::MAX);
        assert_eq!(cadence.wait(SECOND), RAREST);
        assert_eq!(cadence.wait(RAREST * 2), RAREST * 2);
    }
}
