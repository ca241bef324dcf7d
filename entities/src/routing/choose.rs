//! Which of its routes a job takes. Pure.

use std::time::Duration;

use super::PROBE_EVERY;

/// How soon a route that an operator switched off is looked at again; switching it on wakes its
/// jobs.
const OFF_LOOK: Duration = Duration::from_secs(10);

/// Whether a route may be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It may.
    Ready,
    /// One call a second may try.
    HalfOpen,
    /// Not before this time has passed.
    Shut(Duration),
    /// Not before an operator switches it on.
    Off,
}

/// One of a job's routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way {
    /// Whether it may be called.
    pub standing: Standing,
    /// Whether the most that it can cost us is covered by what is held.
    pub fits: bool,
}

/// What a job does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// Its route may be called.
    Stay,
    /// Its route may be called by whoever has the turn to try it.
    Probe,
    /// It goes to this route.
    Move(usize),
    /// It waits for this route.
    Wait {
        /// Which opens first.
        route: usize,
        /// For how long.
        wait: Duration,
    },
    /// No route is covered by what is held: nobody may be called.
    Nowhere,
}

/// Chooses for a job whose route is `current`. `may_probe`: whether half-open routes are worth
/// asking for a turn.
#[must_use]
pub fn choose(ways: &[Way], current: usize, may_probe: bool) -> Choice {
    let usable = |index: usize| ways.get(index).filter(|way| way.fits);
    let stands = |index: usize, standing| usable(index).is_some_and(|w| w.standing == standing);
    if stands(current, Standing::Ready) {
        return Choice::Stay;
    }
    if may_probe && stands(current, Standing::HalfOpen) {
        return Choice::Probe;
    }
    let first = |standing| (0..ways.len()).find(|index| stands(*index, standing));
    if let Some(index) = first(Standing::Ready) {
        return Choice::Move(index);
    }
    if let Some(index) = first(Standing::HalfOpen).filter(|_| may_probe) {
        return Choice::Move(index);
    }
    let wait = |index: usize| match usable(index)?.standing {
        Standing::Ready => Some(Duration::ZERO),
        Standing::HalfOpen => Some(PROBE_EVERY * 2),
        Standing::Shut(wait) => Some(wait),
        Standing::Off => Some(OFF_LOOK),
    };
    let soonest =
        (0..ways.len()).filter_map(|index| Some((wait(index)?, index != current, index))).min();
    match soonest {
        Some((wait, _, route)) => Choice::Wait { route, wait },
        None => Choice::Nowhere,
    }
}

/// How long a job waits for something that takes `wait`: up to half of it more, so that jobs do
/// not come back all at once. `dice` is in 0..1.
#[must_use]
pub fn wait_behind(wait: Duration, dice: f64) -> Duration {
    let spread = (wait / 2).max(Duration::from_secs(2));
    wait.saturating_add(spread.mul_f64(dice.clamp(0.0, 1.0)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn way() -> impl Strategy<Value = Way> {
        let standing = prop_oneof![
            Just(Standing::Ready),
            Just(Standing::HalfOpen),
            (1_u64..100_000).prop_map(|ms| Standing::Shut(Duration::from_millis(ms))),
            Just(Standing::Off),
        ];
        (standing, prop::bool::weighted(0.8)).prop_map(|(standing, fits)| Way { standing, fits })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn a_route_that_works_is_taken_and_no_other(
            ways in prop::collection::vec(way(), 1..5), current in 0_usize..5, may_probe in prop::bool::ANY,
        ) {
            let usable = |index: usize| {
                ways.get(index).filter(|way| way.fits).map(|way| way.standing)
            };
            let ready = (0..ways.len()).any(|index| usable(index) == Some(Standing::Ready));
            match choose(&ways, current, may_probe) {
                Choice::Stay => prop_assert_eq!(usable(current), Some(Standing::Ready)),
                Choice::Probe => {
                    prop_assert!(may_probe && usable(current) == Some(Standing::HalfOpen));
                }
                Choice::Move(index) => {
                    prop_assert!(index != current);
                    match usable(index) {
                        Some(Standing::Ready) => {}
                        Some(Standing::HalfOpen) => prop_assert!(may_probe && !ready),
                        other => prop_assert!(false, "moved to {other:?}"),
                    }
                }
                Choice::Nowhere => prop_assert!(!ways.iter().any(|way| way.fits)),
                Choice::Wait { route, wait } => {
                    prop_assert!(!ready && usable(route).is_some() && wait > Duration::ZERO);
                    for index in 0..ways.len() {
                        if let Some(Standing::Shut(other)) = usable(index) {
                            prop_assert!(wait <= other, "another route opens sooner");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn the_first_route_is_tried_again_while_another_serves() {
        let ways =
            [Standing::HalfOpen, Standing::Ready].map(|standing| Way { standing, fits: true });
        assert_eq!(choose(&ways, 0, true), Choice::Probe);
        assert_eq!(choose(&ways, 0, false), Choice::Move(1));
        assert_eq!(choose(&ways, 1, true), Choice::Stay);
    }

    #[test]
    fn waits_are_spread() {
        let wait = Duration::from_secs(10);
        assert_eq!(wait_behind(wait, 0.0), wait);
        assert_eq!(wait_behind(wait, 1.0), Duration::from_secs(15));
        assert_eq!(wait_behind(Duration::ZERO, 1.0), Duration::from_secs(2));
    }
}
