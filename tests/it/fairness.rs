//! One tenant's crowd delays nobody else.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::{
    harness::{Api, Backend, Cluster, Options, eventually, sketch},
    limits::limits,
};

distributed!(a_crowd_delays_nobody_else, the_queue_stays_small, no_tenant_has_more_than_its_slots);

const CROWD: usize = 10_000;
const CLIENTS: usize = 64;
/// How long each of the crowd's jobs takes.
const TAKES: Duration = Duration::from_secs(2);

/// How long a job took from its submit to its start.
async fn wait_of(user: &Api, seed: usize) -> Duration {
    let id = user.submit(&json!({"seed": seed})).await;
    let job = user.until(&id, "succeeded").await;
    let at = |name: &str| -> DateTime<Utc> { job[name].as_str().unwrap().parse().unwrap() };
    (at("started_at") - at("created_at")).to_std().unwrap_or_default()
}

async fn slowest_of(user: &Api, count: usize) -> Duration {
    let mut slowest = Duration::ZERO;
    for seed in 0..count {
        slowest = slowest.max(wait_of(user, seed).await);
    }
    slowest
}

async fn a_crowd_delays_nobody_else() {
    // What comes in so fast would be too much for one key's limit on requests.
    let options = limits(&[
        ("TIKTOMATO__LIMITS__REQUESTS_PER_ADDRESS", "0"),
        ("TIKTOMATO__LIMITS__REQUESTS_PER_KEY", "0"),
        ("TIKTOMATO__LIMITS__REQUESTS_PER_WORKSPACE", "0"),
    ]);
    let cluster = Cluster::start(Backend::Distributed, options).await;
    let (crowd, other) = (cluster.user(10_000_000), cluster.user(100_000));
    let alone = slowest_of(&other, 5).await;
    let next = AtomicUsize::new(0);
    let clients = (0..CLIENTS).map(async |_| {
        while next.fetch_add(1, Ordering::Relaxed) < CROWD {
            let body = sketch(&json!({"delay_seconds": TAKES.as_secs_f64()}));
            crowd.post("/v1/jobs", &body).await.expect(202);
        }
    });
    // While they arrive, and when all of them wait.
    let (_, arriving) = futures::join!(futures::future::join_all(clients), slowest_of(&other, 5));
    let waiting = slowest_of(&other, 5).await;
    eprintln!("waited {alone:?} alone, {arriving:?} and {waiting:?} beside {CROWD} jobs");
    for slowest in [arriving, waiting] {
        assert!(slowest < TAKES, "{slowest:?} instead of {alone:?}");
    }
    let last: Value = crowd.get("/v1/jobs?limit=1").await.expect(200);
    assert_eq!(last["data"][0]["status"], "queued", "the crowd is still there");
    cluster.finish().await;
}

const TENANTS: usize = 12;

/// However many processes dispatch at once: no more than a pool's room, nor a tenant's slots.
async fn the_queue_stays_small() {
    let options = Options { gateways: 3, schedulers: 2, ..Options::default() };
    let mut cluster = Cluster::start(Backend::Distributed, options).await;
    cluster.kill("workers");
    let tenants = [(); TENANTS].map(|()| cluster.user(10_000));
    let database = cluster.database().await;
    let submits = (0..TENANTS * 20).map(async |n| {
        let base = cluster.base_of(n % 3);
        Api { base, ..tenants[n % TENANTS].clone() }.submit(&json!({"seed": n})).await
    });
    let ids = futures::future::join_all(submits).await;
    let dispatched = "SELECT count(*) AS n FROM jobs WHERE dispatched_at IS NOT NULL";
    eventually("the room is used", async || {
        (database.number(dispatched).await >= 100).then_some(())
    })
    .await;
    assert_eq!(database.number(dispatched).await, 100, "twice 16, but 100 at least");
    let most = "SELECT CAST(max(dispatched) AS bigint) AS n FROM workspaces";
    assert!(database.number(most).await <= 20);
    database.close().await;
    cluster.start_all().await;
    for (n, id) in ids.iter().enumerate() {
        tenants[n % TENANTS].until(id, "succeeded").await;
    }
    cluster.finish().await;
}

const SLOTS: i64 = 20;

/// However many processes dispatch at once, and although there is room for more.
async fn no_tenant_has_more_than_its_slots() {
    let options = Options { gateways: 3, schedulers: 2, ..Options::default() };
    let mut cluster = Cluster::start(Backend::Distributed, options).await;
    cluster.kill("workers");
    let tenants = [(); 3].map(|()| cluster.user(10_000));
    let database = cluster.database().await;
    let submit = async |n: usize| {
        let base = cluster.base_of(n / 3 % 3);
        Api { base, ..tenants[n % 3].clone() }.submit(&json!({"seed": n})).await
    };
    let first = futures::future::join_all((0..120).map(&submit)).await;
    let dispatched = "SELECT CAST(sum(dispatched) AS bigint) AS n FROM workspaces";
    eventually("all slots are used", async || {
        (database.number(dispatched).await >= 3 * SLOTS).then_some(())
    })
    .await;
    // Each of these lets its gateway look again for what may be dispatched.
    let more = futures::future::join_all((120..180).map(&submit)).await;
    let held = "SELECT count(*) AS n FROM jobs WHERE dispatched_at IS NOT NULL";
    assert_eq!(database.number(held).await, 3 * SLOTS);
    for (bound, of) in [("max", "most"), ("min", "fewest")] {
        let text = format!(
            "SELECT CAST({bound}(dispatched) AS bigint) AS n FROM workspaces WHERE dispatched > 0"
        );
        assert_eq!(database.number(&text).await, SLOTS, "the {of} that a tenant has");
    }
    database.close().await;
    cluster.start_all().await;
    for (n, id) in first.iter().chain(&more).enumerate() {
        tenants[n % 3].until(id, "succeeded").await;
    }
    cluster.finish().await;
}
