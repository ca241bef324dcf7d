//! Rolling restarts under load: the processes are stopped as an operator does, one after the other,
//! and started again, while clients behind a load balancer notice nothing.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::future::join_all;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::seed;
use crate::harness::{Answer, Api, Backend, Cluster, Options, http, is_terminal, sketch};

/// How long a gateway that stops still takes requests.
const DRAIN: Duration = Duration::from_secs(2);
/// How often the load balancer looks at a gateway.
const LOOK: Duration = Duration::from_millis(200);
/// Clients that work at the same time, each on one job.
const CLIENTS: usize = 12;

/// So many restarts, one after the other.
pub(crate) async fn restarts(count: usize) {
    let seed = seed();
    let env = vec![
        ("TIKTOMATO__GATEWAY__DRAIN_SECONDS", DRAIN.as_secs().to_string()),
        // Whatever would only come back by an expired lease comes too late.
        ("TIKTOMATO__WORKERS__LEASE_SECONDS", "300".to_owned()),
    ];
    let options = Options { env, gateways: 2, workers: 2, schedulers: 2, ..Options::default() };
    let mut cluster = Cluster::start(Backend::Distributed, options).await;
    let users = [(); 3].map(|()| cluster.user(1_000_000));
    let balancer = Balancer::start(&cluster);
    let load = Arc::new(Load::default());
    let clients: Vec<_> = (0..CLIENTS)
        .map(|n| {
            let (user, balancer) = (users[n % users.len()].clone(), balancer.clone());
            let dice = StdRng::seed_from_u64(seed ^ n as u64);
            tokio::spawn(client(user, balancer, Arc::clone(&load), dice))
        })
        .collect();
    for n in 0..count {
        let names = cluster.names();
        let name = &names[n % names.len()];
        let before = load.done.load(Ordering::Relaxed);
        cluster.take(name).stop("TERM").await;
        cluster.spawn_one(name);
        cluster.until_ready(name).await;
        balancer.has_all().await;
        eprintln!(
            "{name} was restarted; {} jobs done meanwhile",
            load.done.load(Ordering::Relaxed) - before
        );
    }
    load.enough.store(true, Ordering::Relaxed);
    for client in join_all(clients).await {
        client.unwrap();
    }
    let wrong = load.wrong.lock().unwrap().join("\n");
    let done = load.done.load(Ordering::Relaxed);
    assert!(wrong.is_empty(), "TIKTOMATO_TEST_SEED={seed}\n{wrong}");
    assert!(done >= count * 2, "only {done} jobs ran during {count} restarts");
    let database = cluster.database().await;
    let left = database.number("SELECT count(*) AS n FROM jobs WHERE state <> 'succeeded'").await;
    assert_eq!(left, 0, "every job has succeeded");
    assert_eq!(database.number("SELECT count(*) AS n FROM jobs").await, done as i64);
    database.close().await;
    cluster.finish().await;
}

#[derive(Default)]
struct Load {
    enough: AtomicBool,
    done: AtomicUsize,
    wrong: Mutex<Vec<String>>,
}

/// Knows which gateways are ready, as of its last look.
#[derive(Clone)]
struct Balancer {
    gateways: Arc<Vec<Gateway>>,
}

struct Gateway {
    base: String,
    ready: AtomicBool,
}

impl Balancer {
    fn start(cluster: &Cluster) -> Self {
        let names = cluster.names().into_iter().filter(|name| name.starts_with("gateway"));
        let (gateways, ops): (Vec<Gateway>, Vec<String>) = names
            .enumerate()
            .map(|(n, name)| {
                let gateway = Gateway { base: cluster.base_of(n), ready: AtomicBool::new(true) };
                (gateway, cluster.ops_of(&name))
            })
            .unzip();
        let gateways = Arc::new(gateways);
        for (n, ops) in ops.into_iter().enumerate() {
            let weak = Arc::downgrade(&gateways);
            tokio::spawn(async move {
                let http = http();
                while let Some(gateways) = weak.upgrade() {
                    gateways[n].ready.store(is_ready(&http, &ops).await, Ordering::Relaxed);
                    drop(gateways);
                    sleep(LOOK).await;
                }
            });
        }
        Self { gateways }
    }

    /// Waits until it knows that all are ready.
    async fn has_all(&self) {
        while !self.gateways.iter().all(|gateway| gateway.ready.load(Ordering::Relaxed)) {
            sleep(LOOK / 4).await;
        }
    }

    fn pick(&self, dice: &mut StdRng) -> String {
        let ready = self.gateways.iter().filter(|gateway| gateway.ready.load(Ordering::Relaxed));
        let ready: Vec<&Gateway> = ready.collect();
        assert!(!ready.is_empty(), "no gateway is ready");
        ready[dice.random_range(0..ready.len())].base.clone()
    }
}

async fn is_ready(http: &Client, ops: &str) -> bool {
    let answer = http.get(format!("{ops}/readyz")).timeout(LOOK).send().await;
    answer.is_ok_and(|answer| answer.status() == 200)
}

/// Submits a job, waits for its end, gets the file; again and again, and never tries twice.
async fn client(user: Api, balancer: Balancer, load: Arc<Load>, mut dice: StdRng) {
    while !load.enough.load(Ordering::Relaxed) {
        match one_job(&user, &balancer, &mut dice).await {
            Ok(()) => {
                load.done.fetch_add(1, Ordering::Relaxed);
            }
            Err(text) => {
                eprintln!("{text}");
                load.wrong.lock().unwrap().push(text);
                return;
            }
        }
    }
}

async fn one_job(user: &Api, balancer: &Balancer, dice: &mut StdRng) -> Result<(), String> {
    let at = |dice: &mut StdRng| Api { base: balancer.pick(dice), ..user.clone() };
    let delay = if dice.random_ratio(1, 3) { dice.random_range(1.0..4.0) } else { 0.0 };
    let body = sketch(&json!({"seed": dice.random_range(0..1_000_000), "delay_seconds": delay}));
    let request = at(dice).request(reqwest::Method::POST, "/v1/jobs").json(&body);
    let mut job = ask(request, 202).await?;
    let path = format!("/v1/jobs/{}", job["id"].as_str().unwrap());
    let mut looks = 0;
    while !is_terminal(&job) {
        looks += 1;
        if looks > 60 {
            return Err(format!("it does not end: {job}"));
        }
        job = ask(at(dice).request(reqwest::Method::GET, &format!("{path}?wait=2")), 200).await?;
    }
    if job["status"] != "succeeded" || job["attempts"].as_array().map(Vec::len) != Some(1) {
        return Err(format!("it did not run once: {job}"));
    }
    // Links name one address; a load balancer sends whoever follows them to any gateway.
    let link = job["output"][0]["url"].as_str().unwrap();
    let file = link.split_once("/media/").unwrap().1;
    let got = user.http.get(format!("{}/media/{file}", at(dice).base)).send().await;
    match got {
        Ok(got) if got.status() == 200 => Ok(()),
        other => Err(format!("the file was not served: {other:?}")),
    }
}

async fn ask(request: RequestBuilder, wanted: u16) -> Result<Value, String> {
    let answer = Answer::to(request).await.map_err(|error| format!("no answer: {error:?}"))?;
    if answer.status == wanted {
        return Ok(answer.json());
    }
    Err(format!("{}: {}", answer.status, String::from_utf8_lossy(&answer.bytes)))
}
