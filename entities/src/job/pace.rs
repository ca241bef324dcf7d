//! How fast a pool starts jobs, from its last starts. Pure.
//!
//! Only while jobs waited does the time between two starts say how fast the pool is; in a quiet
//! hour it says how seldom somebody came.

use std::time::Duration;

use crate::Timestamp;

/// When a job was ready to be started, and when it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Start {
    pub(super) ready: Timestamp,
    pub(super) started: Timestamp,
}

/// A pool's pace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// It was busy: one start in this time.
    Busy(Duration),
    /// Nobody had to wait for others: a job started this long after it was ready.
    Idle(Duration),
}

impl Pace {
    /// What the starts show. `None`: there are none.
    pub(super) fn of(mut starts: Vec<Start>) -> Option<Self> {
        starts.sort_by_key(|start| start.started);
        let count = u32::try_from(starts.len()).ok().filter(|count| *count > 0)?;
        let busy: Vec<Duration> = starts
            .windows(2)
            .filter_map(|pair| match pair {
                [before, after] if after.ready <= before.started => {
                    Some(after.started.since(before.started))
                }
                _ => None,
            })
            .collect();
        Some(match u32::try_from(busy.len()) {
            Ok(gaps @ 1..) => Self::Busy(busy.iter().sum::<Duration>() / gaps),
            _ => {
                let waits = starts.iter().map(|start| start.started.since(start.ready));
                Self::Idle(waits.sum::<Duration>() / count)
            }
        })
    }

    /// In how many seconds the job at this place starts.
    pub(super) fn eta_seconds(self, position: u64) -> u64 {
        let wait = match self {
            Self::Busy(gap) => gap.saturating_mul(u32::try_from(position).unwrap_or(u32::MAX)),
            Self::Idle(wait) => wait,
        };
        wait.as_millis().div_ceil(1_000).try_into().unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(ready: i64, started: i64) -> Start {
        Start { ready: Timestamp(ready * 1_000_000), started: Timestamp(started * 1_000_000) }
    }

    #[test]
    fn a_busy_pool_shows_its_pace() {
        // Two at a time, every 4 s.
        let starts = [(0, 1), (0, 1), (0, 5), (0, 5), (0, 9), (0, 9)].map(|(r, s)| start(r, s));
        let pace = Pace::of(starts.to_vec()).unwrap();
        assert_eq!(pace, Pace::Busy(Duration::from_millis(1_600)));
        assert_eq!(pace.eta_seconds(10), 16);
    }

    #[test]
    fn a_quiet_hour_before_says_nothing() {
        let starts = [(0, 1), (3_600, 3_601), (3_600, 3_603), (3_600, 3_605)];
        let pace = Pace::of(starts.map(|(r, s)| start(r, s)).to_vec());
        assert_eq!(pace, Some(Pace::Busy(Duration::from_secs(2))));
    }

    #[test]
    fn an_idle_pool_starts_whoever_comes() {
        let pace = Pace::of(vec![start(10, 11), start(500, 501), start(900, 901)]).unwrap();
        assert_eq!((pace, pace.eta_seconds(3)), (Pace::Idle(Duration::from_secs(1)), 1));
        assert_eq!(Pace::of(Vec::new()), None);
    }
}
