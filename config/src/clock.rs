//! The only place that asks the system what time it is.
//!
//! The clock is a parameter everywhere else, so that tests can stop it, set it and move it. Leases
//! do not use it: they use the database's clock and a monotonic one.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use entities::Timestamp;

/// Tells the time. Clones share it: what moves one moves all.
#[derive(Clone)]
pub struct Clock {
    base: Base,
    offset_micros: Arc<AtomicI64>,
}

#[derive(Clone, Copy)]
enum Base {
    System,
    Stopped(Timestamp),
}

impl Clock {
    /// The system's time, moved by so many seconds (`clock.offset_seconds`).
    #[must_use]
    pub fn system(offset_seconds: i64) -> Self {
        Self::new(Base::System, offset_seconds.saturating_mul(1_000_000))
    }

    /// A clock that stands still until it is moved, for tests.
    #[must_use]
    pub fn manual(start: Timestamp) -> Self {
        Self::new(Base::Stopped(start), 0)
    }

    fn new(base: Base, offset_micros: i64) -> Self {
        Self { base, offset_micros: Arc::new(AtomicI64::new(offset_micros)) }
    }

    /// What time it is.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let base = match self.base {
            Base::System => system_time(),
            Base::Stopped(start) => start,
        };
        Timestamp(base.0.saturating_add(self.offset_micros.load(Ordering::Relaxed)))
    }

    /// Moves the clock and all its clones forward, for tests.
    pub fn advance(&self, span: Duration) {
        let micros = i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
        let moved = |offset: i64| Some(offset.saturating_add(micros));
        // The closure always returns a value, so that the update cannot be refused.
        let (Ok(_) | Err(_)) =
            self.offset_micros.fetch_update(Ordering::Relaxed, Ordering::Relaxed, moved);
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place where the system's time is read")]
fn system_time() -> Timestamp {
    chrono::Utc::now().into()
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.base {
            Base::System => "system",
            Base::Stopped(_) => "stopped",
        };
        write!(f, "Clock({kind}, {})", self.now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_when_it_is_moved() {
        let clock = Clock::manual(Timestamp(1_000));
        let clone = clock.clone();
        assert_eq!(clock.now(), Timestamp(1_000));
        clone.advance(Duration::from_millis(1));
        assert_eq!(clock.now(), Timestamp(2_000));
        clone.advance(Duration::MAX);
        assert_eq!(clock.now(), Timestamp(i64::MAX));
    }

    #[test]
    fn the_offset_moves_the_systems_time() {
        let (plain, moved) = (Clock::system(0), Clock::system(-3_600));
        let earlier = moved.now();
        let span = plain.now().since(earlier);
        assert!((3_600..3_700).contains(&span.as_secs()), "{span:?}");
    }
}
