//! `kill -9` at random moments, again and again: nothing that was answered with 202 is lost, and
//! nothing is done twice. `TIKTOMATO_TEST_SEED` repeats a run.

use std::{collections::HashSet, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::harness::{Answer, Api, Backend, Cluster, Options, is_terminal, sketch, within};

on_both!(nothing_is_lost_or_done_twice);

const KILLS: usize = 30;
const JOBS: usize = 300;

async fn nothing_is_lost_or_done_twice(backend: Backend) {
    let seed = match std::env::var("TIKTOMATO_TEST_SEED") {
        Ok(seed) => seed.parse().expect("TIKTOMATO_TEST_SEED is a number"),
        Err(_) => rand::random::<u64>(),
    };
    eprintln!("TIKTOMATO_TEST_SEED={seed}");
    let mut dice = StdRng::seed_from_u64(seed);
    let lease = [("TIKTOMATO__WORKERS__LEASE_SECONDS", "20".to_owned())];
    let options = Options { env: lease.into(), ..Options::default() };
    let mut cluster = Cluster::start(backend, options).await;
    let user = cluster.user(1_000_000);
    let bodies: Vec<Value> = (0..JOBS)
        .map(|n| sketch(&json!({"seed": n, "delay_seconds": dice.random_range(0.0..1.0)})))
        .collect();

    // Each life of the process brings a share of the submits; the rest wait for later ones.
    let permits = Semaphore::new(0);
    let submits = futures::future::join_all(bodies.iter().enumerate().map(async |(n, body)| {
        permits.acquire().await.unwrap().forget();
        submit(&user, n, body).await
    }));
    let victims: &[&str] = match backend {
        Backend::Embedded => &["tiktomato"],
        Backend::Distributed => &["gateway", "workers", "scheduler-0"],
    };
    let murders = async {
        for round in 0..KILLS {
            permits.add_permits(JOBS / KILLS);
            // The moment is random, sometimes before the process is ready.
            tokio::time::sleep(Duration::from_millis(dice.random_range(0..800))).await;
            cluster.kill(victims[round % victims.len()]);
            if dice.random_ratio(1, 5) {
                cluster.spawn_missing();
            } else {
                cluster.start_all().await;
            }
        }
        cluster.start_all().await;
    };
    let (ids, ()) = futures::future::join(submits, murders).await;
    let ids: HashSet<String> = ids.into_iter().collect();
    assert_eq!(ids.len(), JOBS, "each key has its own job");
    forget_lost_answers(&mut cluster, &user, &ids).await;
    ends_well(&cluster, &user, &ids).await;
    assert!(cluster.accepted_by(&user.email).await >= JOBS * 97 / 100);
    cluster.finish().await;
}

/// Submits until somebody answers.
async fn submit(user: &Api, n: usize, body: &Value) -> String {
    within(Duration::from_secs(120), "a submit is answered", async || {
        let request =
            user.request(Method::POST, "/v1/jobs").header("Idempotency-Key", format!("job-{n}"));
        let answer = Answer::to(request.json(body)).await.ok()?;
        match answer.status.as_u16() {
            202 => Some(answer.json()["id"].as_str().unwrap().to_owned()),
            503 => None,
            _ => panic!("{}: {}", answer.status, String::from_utf8_lossy(&answer.bytes)),
        }
    })
    .await
}

/// A process that was killed between writing an attempt down and hearing of its acceptance leaves
/// an uncertain job, which waits 15 minutes for word of a call that may never have gone out. Once
/// everything else has ended, time is moved past that.
async fn forget_lost_answers(cluster: &mut Cluster, user: &Api, ids: &HashSet<String>) {
    within(Duration::from_secs(120), "only lost answers are left", async || {
        let mut left = 0;
        for id in ids {
            let job = user.job(id).await;
            let lost = job["attempts"].as_array().unwrap().last()?["outcome"] == "unknown";
            if !is_terminal(&job) && !lost {
                return None;
            }
            left += usize::from(!is_terminal(&job));
        }
        Some(left)
    })
    .await;
    cluster.set("TIKTOMATO__CLOCK__OFFSET_SECONDS", "1000");
    cluster.stop().await;
    cluster.start_all().await;
}

async fn ends_well(cluster: &Cluster, user: &Api, ids: &HashSet<String>) {
    let mut failed = Vec::new();
    let mut charged = 0;
    for id in ids {
        let job = within(Duration::from_secs(60), &format!("{id} ends"), async || {
            let job = user.job(id).await;
            is_terminal(&job).then_some(job)
        })
        .await;
        charged += job["credits"]["charged"].as_i64().unwrap();
        if job["status"] != "succeeded" {
            failed.push(format!("{} {}", job["error"], job["attempts"]));
        }
    }
    assert!(failed.len() * 100 <= JOBS * 3, "{} of {JOBS} failed: {failed:#?}", failed.len());
    assert_eq!(user.credits().await, (1_000_000 - charged, 0));
    let database = cluster.database().await;
    assert_eq!(database.jobs_of(&user.email).await.len(), JOBS, "no job too many");
    database.close().await;
}
