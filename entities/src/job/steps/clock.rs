//! The database's clock, as far as this process can tell between two statements.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::job::claim::micros;

/// A statement that took longer tells too little of when it read the clock.
const EXACT: Duration = Duration::from_millis(250);

/// What the database's clock showed, and when.
#[derive(Debug, Default)]
pub(super) struct DbClock {
    heard: Mutex<Option<(i64, Instant)>>,
}

impl DbClock {
    fn heard_last(&self) -> MutexGuard<'_, Option<(i64, Instant)>> {
        // Nothing can panic while it is held.
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it shows now, in microseconds; up to a quarter of a second too much. `None`: not known.
    pub(super) fn now(&self) -> Option<i64> {
        let (shown, at) = (*self.heard_last())?;
        Some(shown.saturating_add(micros(at.elapsed())))
    }

    /// A statement that was sent at `asked` and is answered now saw it show `shown`.
    pub(super) fn heard(&self, shown: i64, asked: Instant) {
        if asked.elapsed() < EXACT {
            *self.heard_last() = Some((shown, asked));
        }
    }

    /// It showed `shown` a moment ago, whatever was known before. Too little rather than too much:
    /// by as much as the answer took.
    pub(super) fn set(&self, shown: i64) {
        *self.heard_last() = Some((shown, Instant::now()));
    }
}
