//! The circuit breaker of one route (a provider and its model). Pure.
//!
//! Closed, it counts: it opens after [`ROW`] failures in a row, or when half of at least
//! [`ENOUGH`] calls within [`WINDOW`] failed, or at once when our account is refused. Open, it
//! lets nothing through for a growing, jittered time. After that it is half open: one call a
//! second, of all processes together, may try. One that is accepted closes it, one that fails
//! opens it for longer.
//!
//! A provider that asks for patience is another matter: the route is shut for that long, and then
//! simply goes on.

use std::time::Duration;

use sea_orm::{DeriveActiveEnum, EnumIter};
use serde::Serialize;

use crate::Timestamp;

/// Counts begin anew after this time.
const WINDOW: Duration = Duration::from_secs(60);
/// So many failures in a row open it.
const ROW: i64 = 5;
/// Below so many calls, a share says nothing.
const ENOUGH: i64 = 10;
/// How long it stays open the first time, at most; doubled each time.
const FIRST: Duration = Duration::from_secs(5);
/// And in the end.
const LONGEST: Duration = Duration::from_secs(60);
/// What a provider may ask for.
const PATIENCE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(300));

/// How often a half-open route may be tried, by all processes together.
pub const PROBE_EVERY: Duration = Duration::from_secs(1);

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum, Serialize)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum Trouble {
    /// Surely not accepted.
    Unavailable,
    /// The answer was lost.
    Unknown,
    /// Accepted, and then it failed there.
    Failed,
    /// Accepted, and never done.
    TimedOut,
    /// Too many calls.
    Throttled,
    /// Our account is refused.
    Account,
}

/// Why it is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum, Serialize)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// It fails.
    Failing,
    /// Our account is refused; an operator must act.
    Account,
}

/// What a call tells of its route. What is the user's fault (rejected, moderated) is an answer
/// like any other: the route works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report {
    /// The provider took the call, or answered as it should.
    Accepted,
    /// So many accepted calls ended well.
    Finished(u32),
    /// It failed.
    Failed(Trouble),
    /// It asks for this much patience.
    Throttled(Duration),
    /// It refuses our account.
    Account,
}

/// Where a breaker stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// Calls go through.
    Closed,
    /// Shut until then because the provider asked for it.
    Throttled(Timestamp),
    /// Shut until then.
    Open(Timestamp),
    /// One call a second may try.
    HalfOpen,
}

/// What is known of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Breaker {
    /// When the counts began.
    pub window_from: Timestamp,
    /// Calls with a verdict since then.
    pub calls: i64,
    /// Those that failed.
    pub failures: i64,
    /// Failures since the last call that was accepted.
    pub row: i64,
    /// Why it is open; `None` while it is closed.
    pub cause: Option<Cause>,
    /// Since when.
    pub opened_at: Option<Timestamp>,
    /// How often it opened since it was closed last.
    pub opens: i64,
    /// When it may be tried.
    pub retry_at: Option<Timestamp>,
    /// When it was tried last.
    pub probed_at: Option<Timestamp>,
    /// The provider asked for patience until then.
    pub throttled_until: Option<Timestamp>,
    /// What went wrong last.
    pub trouble: Option<Trouble>,
    /// When.
    pub trouble_at: Option<Timestamp>,
}

impl Breaker {
    /// Where it stands.
    #[must_use]
    pub fn position(&self, now: Timestamp) -> Position {
        let throttled = self.throttled_until.filter(|until| now < *until);
        match (self.cause, self.retry_at, throttled) {
            (Some(_), Some(retry), patience) if now < retry => {
                Position::Open(patience.map_or(retry, |until| until.max(retry)))
            }
            (_, _, Some(until)) => Position::Throttled(until),
            (Some(_), _, None) => Position::HalfOpen,
            (None, _, None) => Position::Closed,
        }
    }

    /// Whether one call may try the half-open route now.
    #[must_use]
    pub fn may_probe(&self, now: Timestamp) -> bool {
        self.position(now) == Position::HalfOpen
            && self.probed_at.is_none_or(|last| last > now || now.since(last) >= PROBE_EVERY)
    }

    /// Takes the turn to try it. `false`: there is none.
    pub fn probe(&mut self, now: Timestamp) -> bool {
        let may = self.may_probe(now);
        if may {
            self.probed_at = Some(now);
        }
        may
    }

    /// Takes in what a call tells. `dice` is in 0..1.
    pub fn record(&mut self, report: Report, now: Timestamp, dice: f64) {
        self.begin_window(now);
        match report {
            Report::Accepted => {
                self.row = 0;
                if self.position(now) == Position::HalfOpen {
                    self.close(now);
                }
            }
            Report::Finished(count) => self.calls = self.calls.saturating_add(count.into()),
            Report::Throttled(asked) => {
                let until = now.after(asked.clamp(PATIENCE.0, PATIENCE.1));
                self.throttled_until =
                    Some(self.throttled_until.map_or(until, |known| known.max(until)));
                self.note(Trouble::Throttled, now);
            }
            Report::Failed(trouble) => {
                self.note(trouble, now);
                self.calls = self.calls.saturating_add(1);
                self.failures = self.failures.saturating_add(1);
                self.row = self.row.saturating_add(1);
                let too_many = self.row >= ROW
                    || (self.calls >= ENOUGH && self.failures.saturating_mul(2) >= self.calls);
                match self.position(now) {
                    Position::HalfOpen => self.open(self.cause, now, dice),
                    Position::Closed | Position::Throttled(_) if self.cause.is_none() => {
                        if too_many {
                            self.open(Some(Cause::Failing), now, dice);
                        }
                    }
                    // Called before it opened: that is known already.
                    Position::Closed | Position::Throttled(_) | Position::Open(_) => {}
                }
            }
            Report::Account => {
                self.note(Trouble::Account, now);
                match self.position(now) {
                    Position::Open(_) => self.cause = Some(Cause::Account),
                    Position::Closed | Position::Throttled(_) | Position::HalfOpen => {
                        self.open(Some(Cause::Account), now, dice);
                    }
                }
            }
        }
    }

    fn begin_window(&mut self, now: Timestamp) {
        if now.since(self.window_from) >= WINDOW || self.window_from > now {
            let stale = self.trouble_at.is_none_or(|last| now.since(last) >= WINDOW);
            let row = if stale { 0 } else { self.row };
            *self = Self { window_from: now, calls: 0, failures: 0, row, ..*self };
        }
    }

    fn note(&mut self, trouble: Trouble, now: Timestamp) {
        (self.trouble, self.trouble_at) = (Some(trouble), Some(now));
    }

    fn open(&mut self, cause: Option<Cause>, now: Timestamp, dice: f64) {
        let doublings = u32::try_from(self.opens.clamp(0, 10)).unwrap_or(0);
        let longest = FIRST.saturating_mul(2_u32.pow(doublings)).min(LONGEST);
        self.cause = cause.or(Some(Cause::Failing));
        self.opened_at = self.opened_at.or(Some(now));
        self.opens = self.opens.saturating_add(1);
        self.retry_at = Some(now.after(longest.mul_f64(0.5 + 0.5 * dice.clamp(0.0, 1.0))));
    }

    fn close(&mut self, now: Timestamp) {
        *self = Self {
            window_from: now,
            trouble: self.trouble,
            trouble_at: self.trouble_at,
            throttled_until: self.throttled_until,
            ..Self::default()
        };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp(1_000_000_000_000_000).after(Duration::from_millis(millis))
    }

    fn failing(count: usize) -> Breaker {
        let mut breaker = Breaker::default();
        for _ in 0..count {
            breaker.record(Report::Failed(Trouble::Unavailable), at(0), 0.5);
        }
        breaker
    }

    #[test]
    fn a_row_of_failures_opens_it_and_an_accepted_probe_closes_it() {
        assert_eq!(failing(4).position(at(0)), Position::Closed);
        let mut breaker = failing(5);
        assert_eq!(breaker.position(at(0)), Position::Open(at(3_750)));
        assert!(!breaker.probe(at(3_749)));
        assert!(breaker.probe(at(3_750)) && !breaker.probe(at(4_749)) && breaker.probe(at(4_750)));
        breaker.record(Report::Failed(Trouble::Unknown), at(5_000), 1.0);
        assert_eq!(breaker.position(at(5_000)), Position::Open(at(15_000)), "for longer");
        assert_eq!(breaker.opened_at, Some(at(0)), "it was never closed since");
        breaker.record(Report::Accepted, at(6_000), 0.5);
        assert!(matches!(breaker.position(at(6_000)), Position::Open(_)), "an old call");
        breaker.record(Report::Accepted, at(15_000), 0.5);
        assert_eq!(breaker.position(at(15_000)), Position::Closed);
        assert_eq!(breaker.trouble, Some(Trouble::Unknown), "what happened is still known");
    }

    #[test]
    fn half_of_enough_calls_opens_it() {
        let mut breaker = Breaker::default();
        for _ in 0..4 {
            breaker.record(Report::Accepted, at(0), 0.5);
            breaker.record(Report::Failed(Trouble::Failed), at(0), 0.5);
        }
        breaker.record(Report::Finished(5), at(0), 0.5);
        assert_eq!(breaker.position(at(0)), Position::Closed);
        breaker.record(Report::Accepted, at(0), 0.5);
        breaker.record(Report::Failed(Trouble::Failed), at(0), 0.5);
        assert!(matches!(breaker.position(at(0)), Position::Open(_)), "{breaker:?}");
    }

    #[test]
    fn old_failures_are_forgotten() {
        let mut breaker = failing(4);
        breaker.record(Report::Failed(Trouble::Unavailable), at(61_000), 0.5);
        assert_eq!(breaker.position(at(61_000)), Position::Closed);
    }

    #[test]
    fn a_refused_account_opens_it_at_once_until_it_works() {
        let mut breaker = Breaker::default();
        breaker.record(Report::Account, at(0), 0.0);
        assert_eq!(breaker.position(at(0)), Position::Open(at(2_500)));
        breaker.record(Report::Failed(Trouble::Unavailable), at(3_000), 0.0);
        assert_eq!(breaker.cause, Some(Cause::Account), "nothing says that it works");
        breaker.record(Report::Accepted, at(60_000), 0.0);
        assert_eq!((breaker.cause, breaker.position(at(60_000))), (None, Position::Closed));
    }

    #[test]
    fn patience_ends_by_itself_and_counts_as_no_failure() {
        let mut breaker = Breaker::default();
        for _ in 0..50 {
            breaker.record(Report::Throttled(Duration::from_secs(7)), at(0), 0.5);
        }
        assert_eq!(breaker.position(at(6_999)), Position::Throttled(at(7_000)));
        assert_eq!(breaker.position(at(7_000)), Position::Closed);
        breaker.record(Report::Throttled(Duration::MAX), at(0), 0.5);
        assert_eq!(breaker.position(at(300_000)), Position::Closed, "there is a limit");
    }

    fn report() -> impl Strategy<Value = Report> {
        prop_oneof![
            4 => Just(Report::Failed(Trouble::Unavailable)),
            2 => Just(Report::Failed(Trouble::Failed)),
            2 => Just(Report::Accepted),
            1 => (0_u32..20).prop_map(Report::Finished),
            1 => (0_u64..10_000).prop_map(|ms| Report::Throttled(Duration::from_millis(ms))),
            1 => Just(Report::Account),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// Whatever calls tell: an open breaker is tried at most once a second, is always tried
        /// again within a bounded time, and only what was accepted closes it.
        #[test]
        fn it_is_tried_at_most_once_a_second_and_never_shut_for_good(
            steps in prop::collection::vec((0_u64..3_000, report(), 0.0_f64..1.0), 1..200),
        ) {
            let (mut breaker, mut millis, mut probes) = (Breaker::default(), 0, Vec::<Timestamp>::new());
            for (step, report, dice) in steps {
                millis += step;
                let now = at(millis);
                if breaker.probe(now) {
                    prop_assert!(probes.last().is_none_or(|last| breaker.opens == 0 || now.since(*last) >= PROBE_EVERY), "{probes:?} {now:?}");
                    probes.push(now);
                }
                let (before, was) = (breaker, breaker.position(now));
                breaker.record(report, now, dice);
                prop_assert!(breaker.failures <= breaker.calls && breaker.row >= 0);
                prop_assert_eq!(breaker.cause.is_some(), breaker.opened_at.is_some());
                prop_assert_eq!(breaker.cause.is_some(), breaker.retry_at.is_some());
                if let Some(retry) = breaker.retry_at.filter(|retry| *retry > now) {
                    prop_assert!(retry.since(now) <= LONGEST);
                }
                if before.cause.is_some() && breaker.cause.is_none() {
                    prop_assert_eq!((report, was), (Report::Accepted, Position::HalfOpen));
                }
                if before.cause.is_none() && breaker.cause.is_some() {
                    let many = breaker.row >= ROW || breaker.calls >= ENOUGH;
                    prop_assert!(report == Report::Account || many, "{breaker:?}");
                }
                // However it stands, it may be tried once its time has passed.
                let later = now.after(PATIENCE.1 + LONGEST);
                prop_assert!(matches!(breaker.position(later), Position::Closed | Position::HalfOpen));
            }
        }
    }
}
