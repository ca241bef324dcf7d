//! Whether two sets of times can be told apart: Welch's t-test, as tools that look for leaks in
//! timing use it. |t| of 4.5 or more is a leak; what is below may be chance.

use std::time::Duration;

/// From here on two sets are told apart.
pub(crate) const LEAK: f64 = 4.5;

/// Welch's t of the two, in which what took longest is left out of both: `share` of all times is
/// kept. Pauses of the machine make times that are far off, and hide small differences.
pub(crate) fn t(a: &[Duration], b: &[Duration], share: f64) -> f64 {
    let mut all: Vec<f64> = a.iter().chain(b).map(Duration::as_secs_f64).collect();
    all.sort_by(f64::total_cmp);
    // Both numbers are far below 2^52, and the share is at most 1.
    let last = ((all.len() as f64 * share).ceil() as usize).clamp(1, all.len().max(1)) - 1;
    let Some(&longest) = all.get(last) else { return 0.0 };
    let kept = |times: &[Duration]| -> Vec<f64> {
        times.iter().map(Duration::as_secs_f64).filter(|time| *time <= longest).collect()
    };
    let (a, b) = (Moments::of(&kept(a)), Moments::of(&kept(b)));
    let error = (a.variance / a.count + b.variance / b.count).sqrt();
    if error > 0.0 { (a.mean - b.mean) / error } else { 0.0 }
}

struct Moments {
    count: f64,
    mean: f64,
    variance: f64,
}

impl Moments {
    fn of(values: &[f64]) -> Self {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        Self { count, mean, variance: squares / (count - 1.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(values: impl IntoIterator<Item = u64>) -> Vec<Duration> {
        values.into_iter().map(Duration::from_millis).collect()
    }

    #[test]
    fn it_is_welchs() {
        // Means 3 and 6, variances 2.5 and 10, five values each: 3 / sqrt(0.5 + 2).
        let (a, b) = (millis([1, 2, 3, 4, 5]), millis([2, 4, 6, 8, 10]));
        assert!((t(&b, &a, 1.0) - 3.0 / 2.5_f64.sqrt()).abs() < 1e-9);
        assert!((t(&a, &b, 1.0) + t(&b, &a, 1.0)).abs() < 1e-12);
    }

    #[test]
    fn a_pause_does_not_hide_a_leak() {
        let a: Vec<_> = millis((0..1_000).map(|n| 10 + n % 3));
        let mut b = millis((0..1_000).map(|n| 11 + n % 3));
        b[7] = Duration::from_secs(60);
        assert!(t(&a, &b, 1.0).abs() < LEAK);
        assert!(t(&a, &b, 0.95).abs() > LEAK);
        assert!(t(&a, &a, 0.95).abs() < LEAK);
    }
}
