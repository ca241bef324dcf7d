//! What only separate processes can suffer: Redis away, a worker lost, a leader lost.

use serde_json::json;

use crate::harness::{Backend, Cluster, Options};

distributed!(redis_away, redis_emptied, a_worker_is_lost, a_leader_is_lost);

async fn own_redis(schedulers: usize) -> Cluster {
    let options = Options { own_redis: true, schedulers, ..Options::default() };
    Cluster::start(Backend::Distributed, options).await
}

async fn redis_away() {
    let mut cluster = own_redis(1).await;
    let user = cluster.user(100_000);
    let warm = user.submit(&json!({})).await;
    user.until(&warm, "succeeded").await;
    cluster.redis.as_mut().unwrap().down();
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.push(user.submit(&json!({"seed": n})).await);
    }
    // Reads do not need it either.
    for id in &ids {
        user.job(id).await;
    }
    cluster.redis.as_mut().unwrap().up();
    for id in &ids {
        user.until(id, "succeeded").await;
    }
    cluster.finish().await;
}

async fn redis_emptied() {
    let mut cluster = own_redis(1).await;
    let user = cluster.user(100_000);
    cluster.kill("workers");
    let mut ids = Vec::new();
    for n in 0..10 {
        ids.push(user.submit(&json!({"seed": n})).await);
    }
    let redis = cluster.redis.as_mut().unwrap();
    redis.down();
    redis.up();
    cluster.start_all().await;
    for id in &ids {
        user.until(id, "succeeded").await;
    }
    cluster.finish().await;
}

async fn a_worker_is_lost() {
    let mut cluster = own_redis(1).await;
    let user = cluster.user(100_000);
    let id = user.submit(&json!({"delay_seconds": 5})).await;
    user.until(&id, "running").await;
    cluster.kill("workers");
    let later = user.submit(&json!({})).await;
    cluster.start_all().await;
    user.until(&later, "succeeded").await;
    let job = user.ended(&id).await;
    // It may have been killed before the provider's answer was written down.
    assert!(matches!(job["status"].as_str(), Some("succeeded" | "failed")), "{job}");
    assert_eq!(job["attempts"].as_array().unwrap().len(), 1, "{job}");
    cluster.finish().await;
}

async fn a_leader_is_lost() {
    let mut cluster = own_redis(2).await;
    let user = cluster.user(100_000);
    let database = cluster.database().await;
    let leases = "SELECT count(*) AS n FROM leader_leases";
    assert_eq!(database.number(leases).await, 1, "one leads");
    // Whichever leads: each is lost once, and what is forgotten is swept by the other.
    for victim in ["scheduler-0", "scheduler-1"] {
        cluster.kill(victim);
        cluster.redis.as_mut().unwrap().down();
        let id = user.submit(&json!({})).await;
        cluster.redis.as_mut().unwrap().up();
        user.until(&id, "succeeded").await;
        cluster.start_all().await;
    }
    assert_eq!(database.number(leases).await, 1, "one leads");
    database.close().await;
    cluster.finish().await;
}
