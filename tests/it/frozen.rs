//! A process that is frozen in the midst of a transaction keeps its locks; the others must not
//! wait for it for long. And what a database gets to late may come from a process that is dead.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use futures::future::join_all;
use reqwest::Method;
use serde_json::json;

use crate::harness::{
    Answer, Api, Backend, Cluster, Database, Options, eventually, sketch, uuid_of,
};

distributed!(a_frozen_gateway_holds_nobody_up, a_claim_that_comes_too_late_is_made_anew);

const CLIENTS: usize = 32;

/// Submits through the gateway that will be frozen; the jobs that were accepted.
async fn submits(user: &Api, stop: &AtomicBool) -> Vec<String> {
    let mut ids = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let request = user.request(Method::POST, "/v1/jobs").json(&sketch(&json!({})));
        let answer = Answer::to(request).await.unwrap();
        // What it was about to commit when it was frozen is refused.
        if answer.status != 503 {
            ids.push(answer.expect(202)["id"].as_str().unwrap().to_owned());
        }
    }
    ids
}

/// Freezes the gateway until it is caught inside of a transaction.
async fn freeze(cluster: &Cluster, server: &Database) {
    let inside = "SELECT count(*) AS n FROM pg_stat_activity WHERE state = 'idle in transaction' \
                  AND state_change < clock_timestamp() - interval '300 milliseconds'";
    eventually("it is frozen inside of a transaction", async || {
        cluster.signal("gateway", "STOP");
        let frozen = Instant::now();
        while frozen.elapsed() < Duration::from_millis(600) {
            if server.number(inside).await > 0 {
                return Some(());
            }
        }
        cluster.signal("gateway", "CONT");
        None
    })
    .await;
}

async fn a_frozen_gateway_holds_nobody_up() {
    let options = Options { gateways: 2, own_postgres: true, ..Options::default() };
    let cluster = Cluster::start(Backend::Distributed, options).await;
    let (user, server, stop) =
        (cluster.user(10_000_000), cluster.server().await, AtomicBool::new(false));
    let elsewhere = Api { base: cluster.base_of(1), ..user.clone() };
    let clients = join_all((0..CLIENTS).map(|_| submits(&user, &stop)));
    let watch = async {
        freeze(&cluster, &server).await;
        // The frozen one may hold this user's wallet, slots, and the turn to dispatch.
        let asked = Instant::now();
        let id = elsewhere.submit(&json!({"seed": 1})).await;
        let (accepted, others) = (asked.elapsed(), cluster.user(1_000));
        let theirs = Api { base: cluster.base_of(1), ..others };
        let other = theirs.submit(&json!({})).await;
        theirs.until(&other, "succeeded").await;
        let took = asked.elapsed();
        eprintln!(
            "beside a frozen gateway: accepted after {accepted:?}, others done after {took:?}"
        );
        assert!(took < Duration::from_secs(10), "{took:?}");
        stop.store(true, Ordering::Relaxed);
        cluster.signal("gateway", "CONT");
        id
    };
    let (ids, id) = futures::join!(clients, watch);
    // Whatever was answered with 202 is there, on whichever side of the freeze.
    let mut ids: Vec<String> = ids.into_iter().flatten().collect();
    ids.push(id);
    let database = cluster.database().await;
    let jobs = database.jobs_of(&user.email).await;
    for id in &ids {
        assert!(jobs.contains(&uuid_of(id)), "{id} is lost");
    }
    database.close().await;
    server.close().await;
    cluster.finish().await;
}

/// A claim that has waited in the database for longer than two seconds is not made: its worker might
/// not live any more. One that lives makes it anew, once, and at once.
async fn a_claim_that_comes_too_late_is_made_anew() {
    let options = Options { own_postgres: true, ..Options::default() };
    let cluster = Cluster::start(Backend::Distributed, options).await;
    let (user, server, database) =
        (cluster.user(10_000), cluster.server().await, cluster.database().await);
    // The worker knows what time it is there.
    let first = user.submit(&json!({"seed": 1})).await;
    user.until(&first, "succeeded").await;
    cluster.signal("workers", "STOP");
    let id = user.submit(&json!({"seed": 2})).await;
    let row = format!("id = '{}'", uuid_of(&id));
    eventually("it is handed out", async || {
        let handed = format!("SELECT count(*) AS n FROM jobs WHERE {row} AND dispatched_at > 0");
        (database.number(&handed).await == 1).then_some(())
    })
    .await;
    let lock = format!(
        "WITH held AS MATERIALIZED (SELECT id FROM jobs WHERE {row} FOR UPDATE) \
         SELECT pg_sleep(4) FROM held",
    );
    let waits = async |what: &str| {
        eventually(what, async || {
            let sql = format!(
                "SELECT count(*) AS n FROM pg_stat_activity WHERE {what} AND pid <> pg_backend_pid()",
            );
            (server.number(&sql).await > 0).then_some(())
        })
        .await;
    };
    let claim = async {
        waits("wait_event = 'PgSleep'").await;
        cluster.signal("workers", "CONT");
        waits("wait_event_type = 'Lock' AND query LIKE '%''submitting''%'").await;
    };
    futures::join!(database.write(&lock), claim);
    let free = Instant::now();
    user.until(&id, "succeeded").await;
    assert!(free.elapsed() < Duration::from_secs(4), "{:?}", free.elapsed());
    assert_eq!(user.job(&id).await["attempts"].as_array().unwrap().len(), 1);
    database.close().await;
    server.close().await;
    cluster.finish().await;
}
