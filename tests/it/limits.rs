//! How often somebody may ask.

use std::time::Instant;

use serde_json::json;

use crate::harness::{Answer, Api, Backend, Cluster, Options, eventually, sketch};

on_both!(
    whoever_asks_too_often_is_told_when_to_come_back,
    a_workspace_has_one_limit_for_all_its_keys,
    an_address_has_one_limit_for_all_who_are_there,
    an_address_that_nobody_vouches_for_does_not_count,
    a_proxy_of_ours_names_the_client
);

pub(crate) fn limits(all: &[(&'static str, &str)]) -> Options {
    let env = all.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    Options { env, ..Options::default() }
}

async fn whoever_asks_too_often_is_told_when_to_come_back(backend: Backend) {
    let cluster = Cluster::start(
        backend,
        limits(&[
            ("TIKTOMATO__LIMITS__REQUESTS_PER_KEY", "60"),
            ("TIKTOMATO__LIMITS__BURST_SECONDS", "5"),
            ("TIKTOMATO__LIMITS__REDIS_PATIENCE_SECONDS", "10"),
        ]),
    )
    .await;
    let (user, other) = (cluster.user(10_000), cluster.user(10_000));
    let begun = Instant::now();
    let first = user.get("/v1/credits").await;
    assert_eq!(first.status, 200);
    let policy = first.header("ratelimit-policy").unwrap();
    assert!(policy.contains("\"key\";q=5;w=5"), "{policy}");
    // A bucket that gateways take from in advance holds what a tenth of a second brings less.
    let held = if backend == Backend::Distributed { 4_900 } else { 5_000 };
    assert!(policy.contains(&format!("\"address\";q={held};w=5, ")), "{policy}");
    assert!(first.header("ratelimit").unwrap().contains("\"key\";r=4;t=1"), "{first:?}");
    let mut admitted = 1;
    let refused = loop {
        let answer = user.get("/v1/credits").await;
        if answer.status != 200 {
            break answer;
        }
        admitted += 1;
        assert!(admitted < 100, "it never ends");
    };
    let most = 5 + begun.elapsed().as_secs();
    assert!(admitted >= 5 && admitted <= most, "{admitted} of {most}");
    assert_eq!(refused.problem(429), "rate_limited");
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=2).contains(&wait), "{wait}");
    assert!(refused.header("ratelimit").unwrap().contains("\"key\";r=0;"), "{refused:?}");
    // Another key is not touched, and a submit that was refused made nothing.
    assert_eq!(other.get("/v1/credits").await.status, 200);
    while user.post("/v1/jobs", &sketch(&json!({}))).await.status != 429 {}
    eventually("it may come back", async || {
        (user.get("/v1/credits").await.status == 200).then_some(())
    })
    .await;
    let metrics = other.http.get(format!("{}/metrics", cluster.ops()[0])).send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    assert!(metrics.contains("tiktomato_requests_limited_total{limit=\"key\"}"), "{metrics}");
    let live = eventually("the jobs end", async || {
        let jobs = other.get("/v1/jobs").await;
        (jobs.status == 200).then_some(jobs)
    })
    .await;
    assert_eq!(live.json()["data"], json!([]));
    let database = cluster.database().await;
    eventually("what was accepted ends", async || {
        let open = "SELECT count(*) AS n FROM jobs WHERE finished_at IS NULL";
        (database.number(open).await == 0).then_some(())
    })
    .await;
    database.close().await;
    cluster.finish().await;
}

/// Asks until it is refused; how often it was let in, and the refusal.
async fn exhausted(ask: impl AsyncFn(usize) -> Answer) -> (u64, Answer) {
    for n in 0..200 {
        let answer = ask(n).await;
        if answer.status == 429 {
            return (n as u64, answer);
        }
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    panic!("it never ends");
}

fn checked(refused: &Answer, limit: &str) {
    assert_eq!(refused.problem(429), "rate_limited");
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=2).contains(&wait), "{wait}");
    let stand = refused.header("ratelimit").unwrap();
    assert!(stand.contains(&format!("\"{limit}\";r=0;")), "{stand}");
}

async fn a_workspace_has_one_limit_for_all_its_keys(backend: Backend) {
    let cluster = Cluster::start(
        backend,
        limits(&[
            ("TIKTOMATO__LIMITS__REQUESTS_PER_WORKSPACE", "60"),
            ("TIKTOMATO__LIMITS__BURST_SECONDS", "10"),
            ("TIKTOMATO__LIMITS__REDIS_PATIENCE_SECONDS", "10"),
        ]),
    )
    .await;
    let (user, other) = (cluster.user(0), cluster.user(0));
    let mut keys = vec![user.clone()];
    for _ in 0..3 {
        let (ok, made) = cluster.admin(&["create-key", "--user", &user.email]);
        assert!(ok, "{made}");
        keys.push(Api { key: made["key"].as_str().unwrap().to_owned(), ..user.clone() });
    }
    let begun = Instant::now();
    let ask = async |n: usize| keys[n % keys.len()].get("/v1/credits").await;
    let (admitted, refused) = exhausted(ask).await;
    let most = 10 + begun.elapsed().as_secs();
    assert!((10..=most).contains(&admitted), "{admitted} of {most} by four keys");
    checked(&refused, "workspace");
    assert!(refused.header("ratelimit-policy").unwrap().contains("\"workspace\";q=10;w=10"));
    // Nobody else is held up, not from the same address either.
    assert_eq!(other.get("/v1/credits").await.status, 200);
    eventually("it may come back", async || {
        (keys[1].get("/v1/credits").await.status == 200).then_some(())
    })
    .await;
    cluster.finish().await;
}

async fn an_address_has_one_limit_for_all_who_are_there(backend: Backend) {
    let cluster = Cluster::start(
        backend,
        limits(&[
            ("TIKTOMATO__LIMITS__REQUESTS_PER_ADDRESS", "60"),
            ("TIKTOMATO__LIMITS__BURST_SECONDS", "10"),
            ("TIKTOMATO__LIMITS__REDIS_PATIENCE_SECONDS", "10"),
            ("TIKTOMATO__GATEWAY__TRUSTED_PROXIES", "127.0.0.0/8"),
        ]),
    )
    .await;
    let users = [cluster.user(0), cluster.user(0)];
    let from = async |user: &Api, address: &str| {
        let request = user.request(reqwest::Method::GET, "/v1/credits");
        Answer::to(request.header("CF-Connecting-IP", address)).await.unwrap()
    };
    let begun = Instant::now();
    let ask = async |n: usize| from(&users[n % 2], "203.0.113.1").await;
    let (admitted, refused) = exhausted(ask).await;
    let most = 10 + begun.elapsed().as_secs();
    // Gateways that share a bucket may hold a little of it, which is never too much.
    assert!((5..=most).contains(&admitted), "{admitted} of {most} by two users");
    checked(&refused, "address");
    // Elsewhere both go on.
    for user in &users {
        assert_eq!(from(user, "203.0.113.2").await.status, 200);
    }
    eventually("they may come back", async || {
        (from(&users[0], "203.0.113.1").await.status == 200).then_some(())
    })
    .await;
    cluster.finish().await;
}

/// 127.0.0.1 is no proxy of ours here.
async fn an_address_that_nobody_vouches_for_does_not_count(backend: Backend) {
    let cluster = Cluster::start(
        backend,
        limits(&[
            ("TIKTOMATO__LIMITS__ANONYMOUS_PER_ADDRESS", "60"),
            ("TIKTOMATO__LIMITS__BURST_SECONDS", "10"),
            // A busy machine must not make a gateway count for itself.
            ("TIKTOMATO__LIMITS__REDIS_PATIENCE_SECONDS", "10"),
        ]),
    )
    .await;
    let begun = Instant::now();
    let url = format!("{}/v1/jobs", cluster.base);
    let ask = |n: u32| {
        let address = std::net::Ipv4Addr::from(0x0a00_0000 + n).to_string();
        Answer::to(cluster.http.get(&url).header("CF-Connecting-IP", address))
    };
    let mut admitted = 0;
    for chunk in 0..100 {
        let asks = (0..100).map(|n| ask(chunk * 100 + n));
        for answer in futures::future::join_all(asks).await {
            match answer.unwrap().status.as_u16() {
                401 => admitted += 1,
                429 => {}
                other => panic!("{other}"),
            }
        }
    }
    let most = 10 + begun.elapsed().as_secs();
    assert!(admitted >= 10 && admitted <= most, "{admitted} of {most}");
    cluster.finish().await;
}

async fn a_proxy_of_ours_names_the_client(backend: Backend) {
    let cluster = Cluster::start(
        backend,
        limits(&[
            ("TIKTOMATO__LIMITS__ANONYMOUS_PER_ADDRESS", "6"),
            ("TIKTOMATO__LIMITS__BURST_SECONDS", "10"),
            // A busy machine must not make a gateway count for itself.
            ("TIKTOMATO__LIMITS__REDIS_PATIENCE_SECONDS", "10"),
            ("TIKTOMATO__GATEWAY__TRUSTED_PROXIES", "127.0.0.0/8,10.0.0.0/8"),
        ]),
    )
    .await;
    let url = format!("{}/v1/jobs", cluster.base);
    let ask = async |address: &str| {
        let request = cluster.http.get(&url).header("CF-Connecting-IP", address);
        Answer::to(request).await.unwrap().status.as_u16()
    };
    // One client, one bucket of one; all of an IPv6 client's addresses are one client.
    assert_eq!(ask("203.0.113.1").await, 401);
    assert_eq!(ask("203.0.113.1").await, 429);
    assert_eq!(ask("203.0.113.2").await, 401);
    assert_eq!(ask("2001:db8:1:2::1").await, 401);
    assert_eq!(ask("2001:db8:1:2:ffff::1").await, 429);
    assert_eq!(ask("2001:db8:1:3::1").await, 401);
    // What is no address counts for the proxy itself.
    assert_eq!(ask("nonsense").await, 401);
    assert_eq!(ask("other nonsense").await, 429);
    cluster.finish().await;
}
