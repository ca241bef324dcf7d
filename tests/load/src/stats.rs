//! What a run counted, and its percentiles.

use std::{collections::BTreeMap, time::Duration};

/// Counts and latencies of one run.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// One for each answer with the expected status.
    pub(crate) latencies: Vec<Duration>,
    /// Everything else, by status or kind of failure.
    pub(crate) errors: BTreeMap<String, u64>,
}

impl Tally {
    pub(crate) fn absorb(&mut self, other: Self) {
        self.latencies.extend(other.latencies);
        for (kind, count) in other.errors {
            *self.errors.entry(kind).or_default() += count;
        }
    }

    pub(crate) fn error(&mut self, kind: impl Into<String>) {
        *self.errors.entry(kind.into()).or_default() += 1;
    }

    /// `429: 3, 503: 1`, or a dash.
    pub(crate) fn errors_in_words(&self) -> String {
        if self.errors.is_empty() {
            return "-".to_owned();
        }
        let words: Vec<String> = self.errors.iter().map(|(k, n)| format!("{k}: {n}")).collect();
        words.join(", ")
    }
}

/// Percentiles of all values, without buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    pub(crate) max: Duration,
}

impl Summary {
    /// Sorts in place; `None` without values.
    pub(crate) fn of(values: &mut [Duration]) -> Option<Self> {
        values.sort_unstable();
        let max = *values.last()?;
        // The smallest value that is not below the given share of all.
        let at = |percent: usize| values.get((values.len() * percent).div_ceil(100).max(1) - 1);
        Some(Self { p50: *at(50)?, p99: *at(99)?, max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let mut values: Vec<_> = (1..=200).rev().map(Duration::from_millis).collect();
        let summary = Summary::of(&mut values).unwrap();
        assert_eq!(summary.p50, Duration::from_millis(100));
        assert_eq!(summary.p99, Duration::from_millis(198));
        assert_eq!(summary.max, Duration::from_millis(200));
        assert_eq!(Summary::of(&mut [Duration::ZERO]).unwrap().p99, Duration::ZERO);
        assert_eq!(Summary::of(&mut []), None);
    }
}
