//! Several schedulers: one leads; whatever happens to it, another does its work, and an old leader
//! that comes back does no harm.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Answer, Backend, Cluster, Database, Options, eventually, uuid_of, within};

distributed!(
    another_leads_when_the_leader_is_killed,
    a_frozen_leader_does_no_harm,
    lost_hints_and_leases_come_back_in_time
);

/// Sweep and rescue under a live leader.
const SOON: Duration = Duration::from_secs(5);
/// The same when the leader changes.
const LATER: Duration = Duration::from_secs(20);

async fn leads(cluster: &Cluster, name: &str) -> bool {
    let url = format!("{}/metrics", cluster.ops_of(name));
    let Ok(answer) = Answer::to(cluster.http.get(url)).await else { return false };
    String::from_utf8(answer.bytes).unwrap().contains("\ntiktomato_pool_capacity{")
}

/// The scheduler that leads, by what it tells of the cluster.
async fn leader(cluster: &Cluster, names: &[&'static str]) -> &'static str {
    eventually("somebody leads", async || {
        let mut leading = Vec::new();
        for name in names {
            if leads(cluster, name).await {
                leading.push(*name);
            }
        }
        (leading.len() == 1).then(|| leading[0])
    })
    .await
}

async fn epoch(database: &Database) -> i64 {
    database.number("SELECT max(epoch) AS n FROM leader_leases").await
}

async fn another_leads_when_the_leader_is_killed() {
    let options = Options { schedulers: 3, ..Options::default() };
    let mut cluster = Cluster::start(Backend::Distributed, options).await;
    let database = cluster.database().await;
    let first = leader(&cluster, &["scheduler-0", "scheduler-1", "scheduler-2"]).await;
    let before = epoch(&database).await;
    cluster.kill(first);
    let killed = Instant::now();
    within(Duration::from_secs(15), "another takes the lease", async || {
        (epoch(&database).await == before + 1).then_some(())
    })
    .await;
    let others: Vec<_> = ["scheduler-0", "scheduler-1", "scheduler-2"]
        .into_iter()
        .filter(|name| *name != first)
        .collect();
    let second = leader(&cluster, &others).await;
    eprintln!("{second} followed {first} after {:?}", killed.elapsed());
    // One that stops as it should hands over at once.
    let asked = Instant::now();
    cluster.take(second).stop("TERM").await;
    within(Duration::from_secs(3), "the next takes the lease", async || {
        (epoch(&database).await == before + 2).then_some(())
    })
    .await;
    eprintln!("the next followed {:?} after SIGTERM", asked.elapsed());
    database.close().await;
    cluster.start_all().await;
    cluster.finish().await;
}

async fn a_frozen_leader_does_no_harm() {
    let env = vec![
        ("TIKTOMATO__SCHEDULER__LEASE_SECONDS", "1".to_owned()),
        ("TIKTOMATO__SCHEDULER__SWEEP_SECONDS", "0.05".to_owned()),
        ("TIKTOMATO__SCHEDULER__RECONCILE_SECONDS", "1".to_owned()),
    ];
    let options = Options { env, own_redis: true, schedulers: 2, ..Options::default() };
    let mut cluster = Cluster::start(Backend::Distributed, options).await;
    let (user, database) = (cluster.user(1_000_000), cluster.database().await);
    let mut ids = Vec::new();
    for round in 0..4 {
        // Redis forgets, so that both leaders find work to do.
        cluster.redis.as_mut().unwrap().down();
        for n in 0..30 {
            ids.push(user.submit(&json!({"seed": n, "delay_seconds": 0.2})).await);
        }
        cluster.redis.as_mut().unwrap().up();
        let frozen = leader(&cluster, &["scheduler-0", "scheduler-1"]).await;
        let before = epoch(&database).await;
        cluster.signal(frozen, "STOP");
        within(Duration::from_secs(15), "another takes the lease", async || {
            (epoch(&database).await > before).then_some(())
        })
        .await;
        cluster.signal(frozen, "CONT");
        // It finds out by itself, and takes back what it told of the cluster.
        let woken = Instant::now();
        within(Duration::from_secs(3), "the old leader steps down", async || {
            (!leads(&cluster, frozen).await).then_some(())
        })
        .await;
        eprintln!("round {round}: {frozen} stepped down {:?} after it woke up", woken.elapsed());
    }
    for id in &ids {
        let job = user.until(id, "succeeded").await;
        assert_eq!(job["attempts"].as_array().unwrap().len(), 1, "{job}");
    }
    database.close().await;
    cluster.all_live();
    cluster.finish().await;
}

/// Lets a running job look as if its holder had died just now; its epoch.
async fn abandon(database: &Database, id: &str) -> i64 {
    let changed = database
        .write(&format!(
            "UPDATE jobs SET epoch = epoch + 1, next_poll_at = NULL, \
             lease_until = CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint) \
             WHERE state = 'running' AND id = {}",
            database.literal(uuid_of(id))
        ))
        .await;
    assert_eq!(changed, 1, "{id} is not running");
    epoch_of(database, id).await
}

async fn epoch_of(database: &Database, id: &str) -> i64 {
    let id = database.literal(uuid_of(id));
    database.number(&format!("SELECT epoch AS n FROM jobs WHERE id = {id}")).await
}

async fn lost_hints_and_leases_come_back_in_time() {
    let options = Options { own_redis: true, schedulers: 2, ..Options::default() };
    let mut cluster = Cluster::start(Backend::Distributed, options).await;
    let (user, database) = (cluster.user(1_000_000), cluster.database().await);
    leader(&cluster, &["scheduler-0", "scheduler-1"]).await;
    for limit in [SOON, LATER] {
        let running = user.submit(&json!({"delay_seconds": 300})).await;
        user.until(&running, "running").await;
        if limit == LATER {
            let leading = leader(&cluster, &["scheduler-0", "scheduler-1"]).await;
            cluster.kill(leading);
        }
        let lost = Instant::now();
        let abandoned = abandon(&database, &running).await;
        // Its hint is lost with Redis: it is due to be pushed again 5 s after it was pushed.
        cluster.redis.as_mut().unwrap().down();
        let forgotten = user.submit(&json!({})).await;
        cluster.redis.as_mut().unwrap().up();
        let rescued = async {
            within(limit, "the lease is taken back", async || {
                (epoch_of(&database, &running).await > abandoned).then(|| lost.elapsed())
            })
            .await
        };
        let swept = async {
            within(SOON + limit, "the hint is pushed again", async || {
                (user.job(&forgotten).await["status"] != "queued").then(|| lost.elapsed())
            })
            .await
        };
        let (rescued, swept) = futures::join!(rescued, swept);
        eprintln!("rescued after {rescued:?}, pushed again after {swept:?}");
        user.cancel(&running).await;
        user.until(&running, "canceled").await;
        user.until(&forgotten, "succeeded").await;
        cluster.start_all().await;
    }
    database.close().await;
    cluster.finish().await;
}
