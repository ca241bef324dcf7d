//! What the platform stands on goes away for a while: Redis, PostgreSQL. Nothing that was accepted
//! is lost, no process dies, and everything goes on by itself.
//! `TIKTOMATO_TEST_LONG=1` keeps Redis away for a minute.

use std::time::{Duration, Instant};

use futures::future::join_all;
use reqwest::Method;
use serde_json::json;

use crate::harness::{Answer, Api, Backend, Cluster, Options, sketch, within};

distributed!(redis_is_away_for_a_while, postgres_is_away_for_a_while);

/// Submits one after the other for this long; the jobs and the median time of an answer.
async fn submits(user: &Api, span: Duration) -> (Vec<String>, Duration) {
    let (began, mut ids, mut times) = (Instant::now(), Vec::new(), Vec::new());
    let mut beat = tokio::time::interval(Duration::from_millis(20));
    while began.elapsed() < span {
        beat.tick().await;
        let asked = Instant::now();
        ids.push(user.submit(&json!({"seed": ids.len()})).await);
        times.push(asked.elapsed());
    }
    times.sort_unstable();
    (ids, times[times.len() / 2])
}

async fn redis_is_away_for_a_while() {
    let long = std::env::var_os("TIKTOMATO_TEST_LONG").is_some();
    let away = Duration::from_secs(if long { 60 } else { 3 });
    let options = Options { own_redis: true, gateways: 2, ..Options::default() };
    let mut cluster = Cluster::start(Backend::Distributed, options).await;
    let user = cluster.user(1_000_000);
    let (mut ids, usual) = submits(&user, Duration::from_secs(2)).await;
    for id in &ids {
        user.until(id, "succeeded").await;
    }
    cluster.redis.as_mut().unwrap().down();
    let (more, slowed) = submits(&user, away).await;
    eprintln!("a submit took {usual:?} usually, {slowed:?} without Redis");
    assert!(slowed < usual * 2 + Duration::from_millis(10), "{slowed:?} instead of {usual:?}");
    // A wait is answered without Redis, too.
    let asked = Instant::now();
    user.get(&format!("/v1/jobs/{}?wait=1", more[0])).await.expect(200);
    assert!(asked.elapsed() < Duration::from_secs(3));
    let first = more[0].clone();
    ids.extend(more);
    // As after a long time: what was pushed in vain so often is not due again for a minute.
    let database = cluster.database().await;
    database.write("UPDATE jobs SET pushes = 9 WHERE state = 'queued' AND pushes > 0").await;
    database.close().await;
    cluster.redis.as_mut().unwrap().up();
    let back = Instant::now();
    within(Duration::from_secs(5), "work goes on", async || {
        (user.job(&first).await["status"] != "queued").then_some(())
    })
    .await;
    eprintln!("work went on {:?} after Redis had come back", back.elapsed());
    for id in &ids {
        let job = user.until(id, "succeeded").await;
        assert_eq!(job["attempts"].as_array().unwrap().len(), 1, "{job}");
    }
    cluster.all_live();
    cluster.finish().await;
}

async fn submit_once(user: &Api, seed: usize) -> Answer {
    let request = user.request(Method::POST, "/v1/jobs").json(&sketch(&json!({"seed": seed})));
    Answer::to(request).await.unwrap()
}

/// While PostgreSQL is away, every answer is a 503 that says when to come again, and nobody dies.
async fn everything_says_so(cluster: &mut Cluster, user: &Api, stranger: &Api, path: &str) {
    let answers = futures::join!(
        submit_once(user, 0),
        user.get(path),
        user.get("/v1/credits"),
        user.get("/v1/jobs"),
    );
    for answer in [answers.0, answers.1, answers.2, answers.3] {
        assert_eq!(answer.problem(503), "unavailable");
        let seconds: u64 = answer.header("retry-after").expect("Retry-After").parse().unwrap();
        assert!((1..=60).contains(&seconds), "{seconds}");
    }
    // Whose key no gateway has seen yet is not taken for nobody, of whom few may come.
    for answer in join_all((0..10).map(|_| stranger.get("/v1/credits"))).await {
        assert_eq!(answer.problem(503), "unavailable");
    }
    for ops in cluster.ops() {
        let ready = Answer::to(cluster.http.get(format!("{ops}/readyz"))).await.unwrap();
        assert_eq!(ready.status, 503, "{ops}");
        let lives = Answer::to(cluster.http.get(format!("{ops}/livez"))).await.unwrap();
        assert_eq!(lives.status, 200, "{ops}");
    }
    cluster.all_live();
}

async fn postgres_is_away_for_a_while() {
    let env = vec![("TIKTOMATO__LIMITS__ANONYMOUS_PER_ADDRESS", "6".to_owned())];
    let options =
        Options { env, own_postgres: true, gateways: 2, schedulers: 2, ..Options::default() };
    let mut cluster = Cluster::start(Backend::Distributed, options).await;
    let (user, stranger) = (cluster.user(1_000_000), cluster.user(1));
    // All connections of all pools have been used.
    let used = join_all((0..100).map(|n| submit_once(&user, n))).await;
    let mut ids: Vec<String> =
        used.iter().map(|answer| answer.expect(202)["id"].as_str().unwrap().to_owned()).collect();
    for n in 0..5 {
        ids.push(user.submit(&json!({"seed": n, "delay_seconds": 8})).await);
    }
    user.until(&ids[104], "running").await;
    // It goes away in the midst of everything.
    for answer in join_all((0..60).map(|n| submit_once(&user, n))).await {
        ids.push(answer.expect(202)["id"].as_str().unwrap().to_owned());
    }

    cluster.postgres.as_ref().unwrap().down();
    let path = format!("/v1/jobs/{}", ids[0]);
    everything_says_so(&mut cluster, &user, &stranger, &path).await;

    cluster.postgres.as_ref().unwrap().up();
    let back = Instant::now();
    let first = within(Duration::from_secs(5), "submits are accepted again", async || {
        let answer = submit_once(&user, 0).await;
        (answer.status == 202).then(|| answer.expect(202)["id"].as_str().unwrap().to_owned())
    })
    .await;
    eprintln!("submits were accepted {:?} after PostgreSQL had come back", back.elapsed());
    user.get(&format!("/v1/jobs/{first}?wait=10")).await.expect(200);
    user.until(&first, "succeeded").await;
    eprintln!("a new job was done {:?} after PostgreSQL had come back", back.elapsed());
    assert!(back.elapsed() < Duration::from_secs(5), "{:?}", back.elapsed());
    ids.push(first);
    // No connection from before is left to trip over, on either gateway.
    let elsewhere = Api { base: cluster.base_of(1), ..user.clone() };
    for api in [&user, &elsewhere] {
        for answer in join_all((0..20).map(|_| api.get(&path))).await {
            answer.expect(200);
        }
    }
    for id in &ids {
        let job = user.ended(id).await;
        assert_eq!(job["status"], "succeeded", "{job}");
        assert_eq!(job["attempts"].as_array().unwrap().len(), 1, "{job}");
    }
    // No lease had to run out: whoever held a job wrote down what it knew.
    eprintln!("everything was done {:?} after PostgreSQL had come back", back.elapsed());
    assert!(back.elapsed() < Duration::from_secs(20), "{:?}", back.elapsed());
    for ops in cluster.ops() {
        let ready = Answer::to(cluster.http.get(format!("{ops}/readyz"))).await.unwrap();
        assert_eq!(ready.status, 200, "{ops}");
    }
    cluster.all_live();
    cluster.finish().await;
}
