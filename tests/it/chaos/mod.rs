//! The crash test and the rolling restarts: money is not lost, nothing is paid for twice, no job is
//! forgotten, whatever is killed, frozen or emptied, and a planned restart is noticed by nobody.
//!
//! | file | what |
//! |---|---|
//! | `plan` | which faults happen when, and what clients do: all of it follows from the seed |
//! | `storm` | makes the faults happen |
//! | `load` | clients that submit, cancel, and try again when an answer is lost |
//! | `verdict` | what must hold at the end, and what is printed when it does not |
//! | `rolling` | rolling restarts under load |
//!
//! The long forms are here and run by `tests/run chaos`; module `chaos_short` has the forms that
//! are part of every run. `TIKTOMATO_TEST_SEED` repeats a run's plan.

mod load;
mod plan;
mod rolling;
mod storm;
mod verdict;

use std::time::Duration;

pub(crate) use plan::Form;
pub(crate) use rolling::restarts;

use crate::harness::{Backend, Cluster, Options};

distributed!(crash_test, rolling_restarts);

async fn crash_test() {
    storm(Form {
        jobs: 2_000,
        users: 8,
        faults: 110,
        gap: 1.5..3.0,
        settled_within: Duration::from_secs(180),
    })
    .await;
}

async fn rolling_restarts() {
    restarts(50).await;
}

/// The seed that was asked for, or a new one.
pub(crate) fn seed() -> u64 {
    let seed = match std::env::var("TIKTOMATO_TEST_SEED") {
        Ok(seed) => seed.parse().expect("TIKTOMATO_TEST_SEED is a number"),
        Err(_) => rand::random::<u64>(),
    };
    eprintln!("TIKTOMATO_TEST_SEED={seed}");
    seed
}

/// How long a worker keeps a job: little more than the demo provider allows.
const LEASE: Duration = Duration::from_secs(16);
/// How long a scheduler leads.
const LEADER_LEASE: Duration = Duration::from_secs(3);

/// The crash test: jobs flow while processes and servers die, freeze and forget.
pub(crate) async fn storm(form: Form) {
    let seed = seed();
    let env = vec![
        ("TIKTOMATO__WORKERS__LEASE_SECONDS", LEASE.as_secs().to_string()),
        ("TIKTOMATO__SCHEDULER__LEASE_SECONDS", LEADER_LEASE.as_secs().to_string()),
        ("TIKTOMATO__SCHEDULER__RECONCILE_SECONDS", "5".to_owned()),
    ];
    let options = Options {
        env,
        own_redis: true,
        own_postgres: true,
        gateways: 2,
        workers: 2,
        schedulers: 2,
        ..Options::default()
    };
    let cluster = Cluster::start(Backend::Distributed, options).await;
    let users: Vec<_> = (0..form.users).map(|_| cluster.user(verdict::CREDITS)).collect();
    let bases = vec![cluster.base_of(0), cluster.base_of(1)];
    let faults = plan::faults(seed, &form);
    let orders = plan::orders(seed, &form, &faults);
    let storm = storm::Storm::new(cluster, faults);
    let (placed, storm) =
        futures::future::join(load::place(&users, &bases, orders), storm.run()).await;
    verdict::check(storm, &users, placed, &form, seed).await;
}
