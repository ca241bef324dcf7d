//! The crash test and the rolling restarts: money is not lost, nothing is paid for twice, no job is
//! forgotten, whatever is killed, frozen or emptied, and a planned restart is noticed by nobody.
//!
//! | file | what |
//! |---|---|
//! | `plan` | which faults happen when, and what clients do: all of it follows from the seed |
//! | `mishaps` | what goes wrong at the providers, job by job |
//! | `services` | the simulated providers, and their bill |
//! | `storm` | makes the faults happen |
//! | `watch` | how many calls a fault finds under way, and which jobs were ever uncertain |
//! | `load` | clients that submit, cancel, and try again when an answer is lost |
//! | `verdict` | what must hold at the end, and what is printed when it does not |
//! | `rolling` | rolling restarts under load |
//!
//! The long forms are here and run by `tests/run chaos`; module `chaos_short` has the forms that
//! are part of every run. `TIKTOMATO_TEST_SEED` repeats a run's plan.

mod load;
mod mishaps;
mod plan;
mod rolling;
mod services;
mod storm;
mod verdict;
mod watch;

use std::time::Duration;

pub(crate) use plan::Form;
pub(crate) use rolling::restarts;

use self::{services::Services, watch::Watch};
use crate::harness::{Backend, Cluster, Options};

distributed!(crash_test, rolling_restarts);

async fn crash_test() {
    storm(Form {
        jobs: 2_000,
        users: 8,
        faults: 110,
        gap: 2.0..4.0,
        settled_within: Duration::from_secs(300),
        succeeded_percent: 97,
        long_freezes_until: Duration::MAX,
        hugging_face: true,
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

/// How long a scheduler leads.
const LEADER_LEASE: Duration = Duration::from_secs(3);

/// What each worker process runs: so many calls of each provider at the same time.
const WORKERS: &[&str] = &[
    "workers",
    "--pool",
    "demo=16",
    "--pool",
    "fal=16",
    "--pool",
    "kieai=16",
    "--pool",
    "huggingface=16",
];

/// The crash test: jobs flow while processes and servers die, freeze and forget, and while the
/// providers lose answers, lie and refuse.
pub(crate) async fn storm(form: Form) {
    let seed = seed();
    let services = Services::start().await;
    let mut env = vec![
        ("TIKTOMATO__WORKERS__LEASE_SECONDS", form.lease().as_secs().to_string()),
        ("TIKTOMATO__SCHEDULER__LEASE_SECONDS", LEADER_LEASE.as_secs().to_string()),
        ("TIKTOMATO__SCHEDULER__RECONCILE_SECONDS", "5".to_owned()),
        ("TIKTOMATO__LIMITS__DISPATCH_PER_WORKSPACE", "50".to_owned()),
    ];
    env.extend(services.env(form.hugging_face));
    let pools = if form.hugging_face { WORKERS.len() } else { WORKERS.len() - 2 };
    let options = Options {
        env,
        own_redis: true,
        own_postgres: true,
        gateways: 2,
        workers: 2,
        schedulers: 2,
        worker_args: &WORKERS[..pools],
        ..Options::default()
    };
    let cluster = Cluster::start(Backend::Distributed, options).await;
    let watch = Watch::start(&cluster).await;
    let users: Vec<_> = (0..form.users).map(|_| cluster.user(verdict::CREDITS)).collect();
    let bases = vec![cluster.base_of(0), cluster.base_of(1)];
    let faults = plan::faults(seed, &form);
    let orders = plan::orders(seed, &form, &faults);
    services.arm(&orders);
    let rotations = rotate(services.fal.clone(), plan::rotations(seed, &faults));
    let storm = storm::Storm::new(cluster, faults, watch);
    let (placed, storm, ()) =
        futures::join!(load::place(&users, &bases, orders), storm.run(), rotations);
    verdict::Verdict { storm, services, users, form, seed }.reach(placed).await;
}

/// fal.ai signs with new keys; the old ones stay published for the callbacks under way.
async fn rotate(fal: sim::fal::Fal, times: Vec<Duration>) {
    let began = tokio::time::Instant::now();
    for at in times {
        tokio::time::sleep_until(began + at).await;
        fal.rotate(true).unwrap();
    }
}
