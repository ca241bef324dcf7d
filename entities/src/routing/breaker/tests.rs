//! The rules of the circuit breaker.

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
