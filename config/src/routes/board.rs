//! What one process has seen of the routes, with what its own calls told since.

use std::collections::BTreeMap;

use entities::{
    Timestamp,
    routing::{Board, Breaker, Position, Report, RouteKey, Standing},
};
use tokio::time::Instant;

use super::WAITING;

#[derive(Default)]
pub(super) struct Seen {
    pub(super) board: Board,
    /// When the board was read. `None`: it was not.
    read_at: Option<Instant>,
    /// Not yet in the database.
    told: BTreeMap<RouteKey, Vec<Report>>,
}

impl Seen {
    /// What the database's clock says, as far as can be known without asking.
    fn now(&self) -> Timestamp {
        self.board.now.after(self.read_at.map(|at| at.elapsed()).unwrap_or_default())
    }

    pub(super) fn now_board(&self) -> Board {
        Board { now: self.now(), ..self.board.clone() }
    }

    pub(super) fn is_troubled(&self, provider: &str) -> bool {
        let now = self.now();
        self.board.switches.iter().any(|switch| switch.provider == provider)
            || self.board.breakers.iter().any(|(key, breaker)| {
                key.provider == provider && breaker.position(now) != Position::Closed
            })
    }

    pub(super) fn standing(&self, provider: &str, model: &str) -> Standing {
        if self.board.switch(provider, model).is_some() {
            return Standing::Off;
        }
        let now = self.now();
        let Some(breaker) = self.board.breakers.get(&RouteKey::new(provider, model)) else {
            return Standing::Ready;
        };
        match breaker.position(now) {
            Position::Closed => Standing::Ready,
            Position::HalfOpen => Standing::HalfOpen,
            Position::Open(until) | Position::Throttled(until) => Standing::Shut(until.since(now)),
        }
    }

    /// Whether it should be known to all soon.
    pub(super) fn report(&mut self, key: RouteKey, report: Report, dice: f64) -> bool {
        let now = self.now();
        let breaker = self.board.breakers.entry(key.clone()).or_default();
        let before = *breaker;
        breaker.record(report, now, dice);
        // A healthy route is not written for each call that says so again.
        let same = Breaker { window_from: before.window_from, ..*breaker } == before;
        if same && report == Report::Accepted {
            return false;
        }
        let told = self.told.entry(key).or_default();
        match (told.last_mut(), report) {
            (Some(Report::Finished(known)), Report::Finished(more)) => {
                *known = known.saturating_add(more);
            }
            _ => told.push(report),
        }
        if told.len() > WAITING {
            told.remove(0);
        }
        !matches!(report, Report::Finished(_))
    }

    pub(super) fn may_probe(&self, key: &RouteKey) -> bool {
        let now = self.now();
        self.board.breakers.get(key).is_some_and(|breaker| breaker.may_probe(now))
    }

    /// Somebody has just tried it.
    pub(super) fn probed(&mut self, key: &RouteKey) {
        let now = self.now();
        if let Some(breaker) = self.board.breakers.get_mut(key) {
            breaker.probed_at = Some(now);
        }
    }

    pub(super) fn take_told(&mut self) -> BTreeMap<RouteKey, Vec<Report>> {
        std::mem::take(&mut self.told)
    }

    pub(super) fn put_back(&mut self, told: BTreeMap<RouteKey, Vec<Report>>) {
        for (key, mut reports) in told {
            let since = self.told.remove(&key).unwrap_or_default();
            reports.extend(since);
            let spare = reports.len().saturating_sub(WAITING);
            reports.drain(..spare);
            self.told.insert(key, reports);
        }
    }

    /// A new board, with what calls told while it was being read.
    pub(super) fn renew(&mut self, board: Board, dice: f64) {
        self.board = board;
        self.read_at = Some(Instant::now());
        let now = self.board.now;
        for (key, reports) in &self.told {
            let breaker = self.board.breakers.entry(key.clone()).or_default();
            for report in reports {
                breaker.record(*report, now, dice);
            }
        }
    }
}
