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

#[cfg(test)]
mod tests;

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
