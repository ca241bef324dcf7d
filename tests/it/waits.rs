//! Waiting across processes: places in the queue, long waits and event streams, on whichever
//! gateway, for jobs that other processes accept and finish.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use futures::{StreamExt, future::join_all};
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Api, Backend, Cluster, Options, eventually, within};

distributed!(
    places_in_the_queue_are_right,
    others_turns_come_between,
    a_waiting_time_is_foretold,
    other_gateways_answer_at_once,
    thousands_wait_without_polling
);

/// A user's jobs that may be dispatched at the same time.
const LIMIT: usize = 20;

async fn two_gateways() -> Cluster {
    Cluster::start(Backend::Distributed, Options { gateways: 2, ..Options::default() }).await
}

/// The number that the leading scheduler tells for the pool.
async fn gauge(cluster: &Cluster, name: &str) -> Option<i64> {
    let line = format!("tiktomato_{name}{{pool=\"demo\"}} ");
    for ops in cluster.ops() {
        let Ok(answer) = Answer::to(cluster.http.get(format!("{ops}/metrics"))).await else {
            continue;
        };
        let text = String::from_utf8(answer.bytes).unwrap();
        if let Some(value) = text.lines().find_map(|found| found.strip_prefix(&line)) {
            return Some(value.parse().unwrap());
        }
    }
    None
}

async fn gauges_become(cluster: &Cluster, depth: usize, waiting: usize) {
    let wanted = [Some(i64::try_from(depth).unwrap()), Some(i64::try_from(waiting).unwrap())];
    eventually(&format!("{depth} are dispatched and {waiting} wait"), async || {
        let found = [gauge(cluster, "queue_depth").await, gauge(cluster, "jobs_waiting").await];
        (found == wanted).then_some(())
    })
    .await;
}

async fn places_in_the_queue_are_right() {
    let mut cluster = two_gateways().await;
    let (one, other) = (cluster.user(100_000), cluster.user(100_000));
    let elsewhere = Api { base: cluster.base_of(1), ..one.clone() };
    cluster.kill("workers");
    let mut ids = Vec::new();
    for n in 0..LIMIT + 5 {
        ids.push(one.submit(&json!({"seed": n})).await);
    }
    gauges_become(&cluster, LIMIT, 5).await;
    for (n, id) in ids.iter().enumerate() {
        let job = elsewhere.job(id).await;
        assert_eq!(job["queue"]["position"], n + 1, "{job}");
    }
    // Another tenant's job goes before those that wait for a slot of their own tenant.
    let late = other.submit(&json!({})).await;
    gauges_become(&cluster, LIMIT + 1, 5).await;
    assert_eq!(other.job(&late).await["queue"]["position"], LIMIT + 1);
    assert_eq!(elsewhere.job(&ids[LIMIT]).await["queue"]["position"], LIMIT + 2);
    // What goes before it may go away.
    one.cancel(&ids[0]).await;
    gauges_become(&cluster, LIMIT + 1, 4).await;
    assert_eq!(elsewhere.job(&ids[1]).await["queue"]["position"], 1);
    assert_eq!(elsewhere.job(&ids[LIMIT + 4]).await["queue"]["position"], LIMIT + 5);

    cluster.start_all().await;
    for id in &ids[1..] {
        assert_eq!(elsewhere.until(id, "succeeded").await["queue"], Value::Null);
    }
    other.until(&late, "succeeded").await;
    gauges_become(&cluster, 0, 0).await;
    cluster.finish().await;
}

/// Three tenants wait for slots: their turns alternate.
async fn others_turns_come_between() {
    let mut cluster = two_gateways().await;
    let tenants: Vec<Api> = (0..3).map(|_| cluster.user(100_000)).collect();
    cluster.kill("workers");
    let mut ids = Vec::new();
    for tenant in &tenants {
        for n in 0..LIMIT + 4 {
            ids.push(tenant.submit(&json!({"seed": n})).await);
        }
    }
    gauges_become(&cluster, 3 * LIMIT, 12).await;
    // Before the first that waits, one of each other's may go; before the last, all four of each.
    let places = [(LIMIT, 3 * LIMIT + 3), (LIMIT + 3, 3 * LIMIT + 3 + 8 + 1)];
    for (n, position) in places {
        let job = tenants[0].job(&ids[n]).await;
        assert_eq!(job["queue"]["position"], position, "{job}");
    }
    cluster.start_all().await;
    for (n, id) in ids.iter().enumerate() {
        tenants[n / (LIMIT + 4)].until(id, "succeeded").await;
    }
    cluster.finish().await;
}

/// A tenant's 20 slots, each taken for 2 s: 10 jobs a second.
async fn a_waiting_time_is_foretold() {
    let cluster = two_gateways().await;
    let user = cluster.user(100_000);
    // A quiet hour before says nothing about how fast a busy pool is.
    user.until(&user.submit(&json!({})).await, "succeeded").await;
    let database = cluster.database().await;
    let hour = 3_600_000_000_i64;
    let aged =
        format!("UPDATE jobs SET started_at = started_at - {hour}, ready_at = ready_at - {hour}");
    database.write(&aged).await;
    database.close().await;
    let mut ids = Vec::new();
    for n in 0..5 * LIMIT {
        ids.push(user.submit(&json!({"seed": n, "delay_seconds": 2})).await);
    }
    let (last, elsewhere) = (&ids[5 * LIMIT - 1], Api { base: cluster.base_of(1), ..user.clone() });
    // Once the pool has shown its pace, every look foretells about the same end.
    user.until(&ids[2 * LIMIT], "running").await;
    let job = elsewhere.job(last).await;
    let (told, asked) = (job["queue"]["eta_seconds"].as_f64(), Instant::now());
    let told = told.unwrap_or_else(|| panic!("{job}"));
    let started = eventually("the last job starts", async || {
        (elsewhere.job(last).await["status"] != "queued").then(|| asked.elapsed().as_secs_f64())
    })
    .await;
    assert!(
        told < 3.0 * started + 2.0 && started < 3.0 * told + 2.0,
        "{told} s became {started} s"
    );
    for id in &ids {
        user.until(id, "succeeded").await;
    }
    cluster.finish().await;
}

/// How long after a job's end its news arrived.
fn lateness(job: &Value, arrived: DateTime<Utc>) -> Duration {
    let finished = job["finished_at"].as_str().unwrap_or_else(|| panic!("{job}"));
    let finished: DateTime<Utc> = finished.parse().unwrap();
    (arrived - finished).to_std().unwrap_or_default()
}

async fn waited(user: &Api, id: &str) -> Duration {
    let job = user.get(&format!("/v1/jobs/{id}?wait=30")).await.expect(200);
    assert_eq!(job["status"], "succeeded", "{job}");
    lateness(&job, Utc::now())
}

/// Reads a stream until it tells the end.
async fn streamed(user: &Api, id: &str) -> Duration {
    let request = user.request(Method::GET, &format!("/v1/jobs/{id}/events"));
    let mut body = request.send().await.unwrap().error_for_status().unwrap().bytes_stream();
    let mut text = String::new();
    while let Some(part) = body.next().await {
        text.push_str(std::str::from_utf8(&part.unwrap()).unwrap());
        let events = text.split_inclusive("\n\n").filter(|event| event.ends_with("\n\n"));
        let jobs = events.filter_map(|event| event.lines().find_map(|l| l.strip_prefix("data:")));
        for job in jobs.map(|job| serde_json::from_str::<Value>(job).unwrap()) {
            if job["status"] == "succeeded" {
                return lateness(&job, Utc::now());
            }
        }
    }
    panic!("the stream ended before the job: {text}");
}

async fn other_gateways_answer_at_once() {
    let cluster = two_gateways().await;
    let here = cluster.user(100_000);
    let elsewhere = Api { base: cluster.base_of(1), ..here.clone() };
    for n in 0..3 {
        let id = here.submit(&json!({"seed": n, "delay_seconds": 1})).await;
        let (a, b, c, d) = futures::join!(
            waited(&here, &id),
            waited(&elsewhere, &id),
            streamed(&here, &id),
            streamed(&elsewhere, &id),
        );
        let slowest = a.max(b).max(c).max(d);
        eprintln!("waits answered after {a:?} and {b:?}, streams after {c:?} and {d:?}");
        assert!(slowest < Duration::from_secs(1), "{slowest:?} late");
    }
    cluster.finish().await;
}

/// How many statements the database's server has been asked for since it logs them.
fn statements(cluster: &Cluster) -> usize {
    let log = cluster.postgres.as_ref().unwrap().log();
    log.lines()
        .filter(|line| line.contains(" LOG:  execute") || line.contains("statement:"))
        .count()
}

async fn log_statements(cluster: &Cluster) {
    let server = cluster.server().await;
    server.write("ALTER SYSTEM SET log_statement = 'all'").await;
    server.number("SELECT count(pg_reload_conf()) AS n").await;
    server.close().await;
}

const WAITS: usize = 2_000;
const JOBS: usize = 20;

async fn thousands_wait_without_polling() {
    let options = Options { gateways: 2, own_postgres: true, ..Options::default() };
    let mut cluster = Cluster::start(Backend::Distributed, options).await;
    let user = cluster.user(100_000);
    let elsewhere = Api { base: cluster.base_of(1), ..user.clone() };
    // Nobody else shall ask the database anything meanwhile.
    cluster.kill("workers");
    cluster.kill("scheduler-0");
    let mut ids = Vec::new();
    for n in 0..JOBS {
        ids.push(user.submit(&json!({"seed": n})).await);
    }
    // Gateways look at routes now and then, whether somebody waits or not.
    log_statements(&cluster).await;
    let begin = statements(&cluster);
    tokio::time::sleep(Duration::from_secs(6)).await;
    let idle = statements(&cluster) - begin;
    let waits = join_all((0..WAITS).map(|n| waited(&elsewhere, &ids[n % JOBS])));
    let watch = async {
        let (before, still) = (Cell::new(0), Cell::new(0));
        within(Duration::from_secs(20), "all requests wait", async || {
            tokio::time::sleep(Duration::from_millis(250)).await;
            let now = statements(&cluster);
            still.set(if now - before.replace(now) < 8 { still.get() + 1 } else { 0 });
            (now > WAITS && still.get() >= 4).then_some(())
        })
        .await;
        // One look for all of them comes every 5 s.
        let begin = statements(&cluster);
        tokio::time::sleep(Duration::from_secs(6)).await;
        let count = statements(&cluster) - begin;
        eprintln!(
            "{WAITS} waits: {begin} statements to begin with, then {count} in 6 s; {idle} without"
        );
        assert!(count > 0 && count < idle + 20, "{count} statements while {WAITS} requests waited");
        cluster.start_all().await;
    };
    let (mut late, ()) = futures::join!(waits, watch);
    late.sort_unstable();
    let (median, slowest) = (late[WAITS / 2], late[WAITS - 1]);
    eprintln!("{WAITS} waits were answered after {median:?} (median), {slowest:?} (slowest)");
    assert!(slowest < Duration::from_secs(4), "{slowest:?} late");
    cluster.finish().await;
}
