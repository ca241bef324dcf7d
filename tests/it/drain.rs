//! One process of many is stopped while it is busy: nobody notices.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt;
use reqwest::{Body, Client, Method};
use serde_json::{Value, json};
use sim::{
    faults::Rule,
    huggingface::fault::{Fault, SubmitFault},
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;

use crate::{
    harness::{Answer, Api, Backend, Cluster, Options, eventually, http, sketch, within},
    huggingface::FLUX,
    market::{Keys, QWEN, Scene, outcomes},
};

distributed!(
    a_gateway_finishes_what_it_began,
    workers_hand_back_what_they_hold,
    a_call_on_its_way_is_finished,
    everything_stops_while_nothing_answers
);

/// The state of a process as a load balancer sees it.
async fn ready(http: &Client, ops: &str) -> u16 {
    let answer = Answer::to(http.get(format!("{ops}/readyz"))).await.unwrap();
    assert_eq!(Answer::to(http.get(format!("{ops}/livez"))).await.unwrap().status, 200);
    answer.status.as_u16()
}

/// A submit whose body comes in pieces.
fn slow_submit(user: &Api) -> (mpsc::UnboundedSender<Bytes>, reqwest::RequestBuilder) {
    let (pieces, body) = mpsc::unbounded_channel::<Bytes>();
    let body = UnboundedReceiverStream::new(body).map(Ok::<_, std::io::Error>);
    let request = user
        .request(Method::POST, "/v1/jobs")
        .header("content-type", "application/json")
        .body(Body::wrap_stream(body));
    (pieces, request)
}

async fn a_gateway_finishes_what_it_began() {
    let env = vec![("TIKTOMATO__GATEWAY__DRAIN_SECONDS", "2".to_owned())];
    let options = Options { env, gateways: 2, ..Options::default() };
    let mut cluster = Cluster::start(Backend::Distributed, options).await;
    let user = cluster.user(100_000);
    let elsewhere = Api { base: cluster.base_of(1), ..user.clone() };
    let ops = cluster.ops_of("gateway");
    assert_eq!(ready(&cluster.http, &ops).await, 200);
    let long = user.submit(&json!({"delay_seconds": 300})).await;
    user.until(&long, "running").await;

    let (pieces, request) = slow_submit(&user);
    let body = sketch(&json!({})).to_string().into_bytes();
    pieces.send(Bytes::copy_from_slice(&body[..10])).unwrap();
    let slow = tokio::spawn(Answer::to(request));
    let waiting = tokio::spawn({
        let (user, path) = (user.clone(), format!("/v1/jobs/{long}?wait=60"));
        async move { user.get(&path).await }
    });
    let stream = user.request(Method::GET, &format!("/v1/jobs/{long}/events")).send();
    let mut stream = stream.await.unwrap().bytes_stream();
    stream.next().await.unwrap().unwrap();

    let mut gateway = cluster.take("gateway");
    gateway.signal("TERM");
    let asked = Instant::now();
    // First it says so, and still takes new connections.
    let fresh = Api { http: http(), ..user.clone() };
    within(Duration::from_secs(1), "it is not ready any more", async || {
        (ready(&fresh.http, &ops).await == 503).then_some(())
    })
    .await;
    let during = fresh.submit(&json!({"seed": 1})).await;
    assert!(asked.elapsed() < Duration::from_secs(2), "that was still before the listener closed");
    assert!(!waiting.is_finished() && !slow.is_finished());
    // Then it takes none, and finishes what it has.
    within(Duration::from_secs(3), "it takes no new requests", async || {
        let refused = http().get(format!("{}/v1/models", user.base)).send().await;
        refused.is_err_and(|error| error.is_connect()).then_some(())
    })
    .await;
    assert!(asked.elapsed() >= Duration::from_secs(2), "{:?}", asked.elapsed());
    assert_eq!(ready(&fresh.http, &ops).await, 503);
    let waited: Value = waiting.await.unwrap().expect(200);
    assert_eq!(waited["status"], "running", "a wait is answered with what is: {waited}");
    while let Some(part) = stream.next().await {
        part.expect("a stream ends as it should");
    }
    assert!(gateway.exited().is_none(), "a request is still coming in");
    pieces.send(Bytes::copy_from_slice(&body[10..])).unwrap();
    drop(pieces);
    let accepted = slow.await.unwrap().expect("the connection was kept").expect(202);
    let ended = gateway.ended(Duration::from_secs(5)).await;
    assert!(ended.success(), "{ended}");
    // Nothing of it is lost to the others.
    for id in [&during, accepted["id"].as_str().unwrap()] {
        elsewhere.until(id, "succeeded").await;
    }
    elsewhere.cancel(&long).await;
    elsewhere.until(&long, "canceled").await;
    cluster.finish().await;
}

const JOBS: usize = 150;

async fn workers_hand_back_what_they_hold() {
    let env = vec![
        ("TIKTOMATO__WORKERS__GRACE_SECONDS", "10".to_owned()),
        // Whatever would only come back by an expired lease comes too late.
        ("TIKTOMATO__WORKERS__LEASE_SECONDS", "120".to_owned()),
        ("TIKTOMATO__GATEWAY__DRAIN_SECONDS", "4".to_owned()),
    ];
    let options = Options { env, workers: 2, ..Options::default() };
    let mut cluster = Cluster::start(Backend::Distributed, options).await;
    let users = [(); 8].map(|()| cluster.user(100_000));
    let mut jobs = Vec::new();
    for n in 0..JOBS {
        let user = &users[n % users.len()];
        jobs.push((user, user.submit(&json!({"seed": n, "delay_seconds": 1.5})).await));
    }
    let (owner, last) = &jobs[JOBS - 1];
    owner.until(last, "running").await;
    // Nobody sends requests to workers, so they need not wait before they stop.
    let (began, workers) = (Instant::now(), cluster.take("workers"));
    workers.stop("TERM").await;
    eprintln!("workers stopped after {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    for (user, id) in &jobs {
        let job = user.until(id, "succeeded").await;
        assert_eq!(job["attempts"].as_array().unwrap().len(), 1, "{job}");
    }
    eprintln!("all jobs were done {:?} after the signal", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(25), "{:?}", began.elapsed());
    // And when all of them stop, what they leave waits for the next.
    let left = users[0].submit(&json!({"delay_seconds": 2})).await;
    users[0].until(&left, "running").await;
    cluster.take("workers-1").stop("TERM").await;
    let waits = users[0].submit(&json!({})).await;
    cluster.start_all().await;
    for id in [&left, &waits] {
        users[0].until(id, "succeeded").await;
    }
    cluster.finish().await;
}

/// Nobody can take back a call whose answer is still to come, nor ask for it again.
async fn a_call_on_its_way_is_finished() {
    let mut scene = Scene::new(Backend::Distributed, Keys::HuggingFace).await;
    let mut ids = Vec::new();
    for (number, model) in [FLUX, QWEN, FLUX, QWEN].into_iter().enumerate() {
        let prompt = format!("on its way {number}.");
        scene.hf.rules().add(Rule::when(&prompt, Fault::Submit(SubmitFault::Late(3_000))));
        ids.push(scene.submit(model, &prompt).await);
    }
    eventually("all are accepted", async || (scene.hf.accepted().len() == 4).then_some(())).await;
    let mut workers = ["workers", "workers-1"].map(|name| scene.cluster.take(name));
    for process in &workers {
        process.signal("TERM");
    }
    for process in &mut workers {
        let ended = process.ended(Duration::from_secs(20)).await;
        assert!(ended.success(), "{ended}: {}", process.log_text());
    }
    for id in &ids {
        let job = scene.user.job(id).await;
        assert!(["accepted", "succeeded"].contains(&outcomes(&job)[0]), "{job}");
    }
    scene.cluster.start_all().await;
    for id in &ids {
        let job = scene.user.until(id, "succeeded").await;
        assert_eq!(outcomes(&job), ["succeeded"], "{job}");
    }
    scene.finish().await;
}

async fn everything_stops_while_nothing_answers() {
    let grace = Duration::from_secs(3);
    let env = vec![("TIKTOMATO__WORKERS__GRACE_SECONDS", grace.as_secs().to_string())];
    let options =
        Options { env, own_redis: true, own_postgres: true, schedulers: 2, ..Options::default() };
    let mut cluster = Cluster::start(Backend::Distributed, options).await;
    let user = cluster.user(100_000);
    let mut ids = Vec::new();
    for n in 0..30 {
        ids.push(user.submit(&json!({"seed": n, "delay_seconds": 0.5})).await);
    }
    user.until(&ids[10], "running").await;
    cluster.postgres.as_ref().unwrap().down();
    cluster.redis.as_mut().unwrap().down();
    let waiting = tokio::spawn({
        let (user, path) = (user.clone(), format!("/v1/jobs/{}?wait=60", ids[0]));
        async move { user.get(&path).await }
    });
    let asked = Instant::now();
    let names = ["gateway", "workers", "scheduler-0", "scheduler-1"];
    let mut processes = names.map(|name| cluster.take(name));
    for process in &processes {
        process.signal("TERM");
    }
    for process in &mut processes {
        let ended = process.ended(grace + Duration::from_secs(5)).await;
        assert!(ended.success(), "{ended}: {}", process.log_text());
    }
    eprintln!("everything had stopped after {:?}", asked.elapsed());
    // It was answered, or its connection came too late; it does not hang.
    drop(tokio::time::timeout(Duration::from_secs(5), waiting).await.expect("an end"));
    cluster.redis.as_mut().unwrap().up();
    cluster.postgres.as_ref().unwrap().up();
    cluster.start_all().await;
    user.until(&ids[29], "succeeded").await;
    cluster.finish().await;
}
