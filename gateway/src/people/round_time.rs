//! When a refused sign-in is answered: at a round time after it came, so that its time does not tell
//! what was looked at meanwhile.
//!
//! The work is the same with and without an account (`password::verify`), but no two computations take
//! exactly as long on every machine, and thousands of tries show a difference of a hundredth. What
//! differs by less than [`STEP`] is seen by nobody, except around the steps themselves.

use std::time::Duration;

use tokio::time::Instant;

/// Answers come at multiples of this.
const STEP: Duration = Duration::from_millis(50);

/// Waits until the next round time of a request that came at `came`.
pub(super) async fn wait(came: Instant) {
    tokio::time::sleep_until(came + round(came.elapsed())).await;
}

/// The next multiple of [`STEP`].
fn round(past: Duration) -> Duration {
    let steps = past.as_nanos() / STEP.as_nanos() + 1;
    // After seven years it would not fit; no request lives that long.
    STEP * u32::try_from(steps).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_within_a_step_are_one() {
        for millis in [0, 1, 20, 49] {
            assert_eq!(round(Duration::from_millis(millis)), STEP);
        }
        assert_eq!(round(STEP - Duration::from_nanos(1)), STEP);
        assert_eq!(round(STEP), STEP * 2, "it is never over already");
        assert_eq!(round(STEP * 7 + Duration::from_nanos(1)), STEP * 8);
        assert_eq!(round(Duration::MAX), STEP * u32::MAX);
    }

    #[tokio::test]
    async fn it_waits_for_the_rest_of_a_step() {
        let came = Instant::now();
        wait(came).await;
        assert!(came.elapsed() >= STEP, "{:?}", came.elapsed());
    }
}
