//! What several gateways keep together: revoked keys and limits, also while Redis is away.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::{
    harness::{Answer, Api, Backend, Cluster, Options, eventually, sketch, within},
    keys::made,
    limits::limits,
};

distributed!(
    a_revoked_key_ends_on_every_gateway,
    gateways_keep_one_limit_together,
    requests_are_answered_without_redis
);

/// How soon other gateways hear of it, on a busy machine. Without the announcement a busy key is
/// looked up again and again, each time for a second.
async fn a_revoked_key_ends_on_every_gateway() {
    let options = Options { gateways: 2, ..Options::default() };
    let cluster = Cluster::start(Backend::Distributed, options).await;
    let owner = cluster.user(10_000);
    let there = |user: &Api| Api { base: cluster.base_of(1), ..user.clone() };
    for round in 0..5 {
        let (key, body) =
            made(&owner, &json!({"name": "x", "scopes": ["jobs:read", "jobs:write"]})).await;
        let far = there(&key);
        // Both gateways remember it.
        assert_eq!(far.get("/v1/jobs").await.status, 200);
        assert_eq!(key.get("/v1/jobs").await.status, 200);
        let path = format!("/v1/keys/{}", body["id"].as_str().unwrap());
        assert_eq!(owner.delete(&path).await.status, 204);
        let revoked = Instant::now();
        assert_eq!(key.get("/v1/jobs").await.status, 401, "where it was revoked, at once");
        within(Duration::from_secs(5), "the other gateway hears of it", async || {
            (far.get("/v1/jobs").await.status == 401).then_some(())
        })
        .await;
        assert!(revoked.elapsed() < Duration::from_millis(900), "round {round}");
        for _ in 0..20 {
            assert_eq!(far.get("/v1/jobs").await.status, 401, "never again");
        }
        far.post("/v1/jobs", &sketch(&json!({}))).await.problem(401);
    }
    cluster.finish().await;
}

async fn gateways_keep_one_limit_together() {
    let options = Options {
        gateways: 4,
        ..limits(&[
            ("TIKTOMATO__LIMITS__REQUESTS_PER_KEY", "600"),
            // A busy machine must not make a gateway count for itself.
            ("TIKTOMATO__LIMITS__REDIS_PATIENCE_SECONDS", "10"),
            ("TIKTOMATO__LIMITS__BURST_SECONDS", "10"),
        ])
    };
    let cluster = Cluster::start(Backend::Distributed, options).await;
    let user = cluster.user(0);
    let begun = Instant::now();
    let end = begun + Duration::from_secs(6);
    let clients = (0..64).map(|n| {
        let (user, base) = (user.clone(), cluster.base_of(n % 4));
        tokio::spawn(async move {
            let mut admitted = 0_u64;
            while Instant::now() < end {
                let request = user.http.get(format!("{base}/v1/credits")).bearer_auth(&user.key);
                match Answer::to(request).await.unwrap().status.as_u16() {
                    200 => admitted += 1,
                    429 => {}
                    other => panic!("{other}"),
                }
            }
            admitted
        })
    });
    let counts = futures::future::join_all(clients).await;
    let admitted: u64 = counts.into_iter().map(Result::unwrap).sum();
    let most = 100.0 + 10.0 * begun.elapsed().as_secs_f64();
    assert!(admitted as f64 <= most, "{admitted} of {most}");
    assert!(admitted >= 140, "{admitted} of {most}: it admits what it may");
    cluster.finish().await;
}

async fn requests_are_answered_without_redis() {
    let options = Options {
        own_redis: true,
        ..limits(&[
            ("TIKTOMATO__LIMITS__REQUESTS_PER_KEY", "60"),
            ("TIKTOMATO__LIMITS__BURST_SECONDS", "10"),
        ])
    };
    let mut cluster = Cluster::start(Backend::Distributed, options).await;
    let user = cluster.user(0);
    assert_eq!(user.get("/v1/credits").await.status, 200);
    cluster.redis.as_mut().unwrap().down();
    let begun = Instant::now();
    let mut admitted = 0;
    while user.get("/v1/credits").await.status == 200 {
        admitted += 1;
        assert!(admitted < 200, "this process keeps the limit for itself");
    }
    assert!(admitted >= 9, "{admitted}");
    // One wait of 50 ms in a second, not one for each request.
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    cluster.redis.as_mut().unwrap().up();
    eventually("it may come back", async || {
        (user.get("/v1/credits").await.status == 200).then_some(())
    })
    .await;
    cluster.finish().await;
}
