//! Many clients race for the last credits, over every gateway there is.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use crate::harness::{Api, Backend, Cluster, Options, eventually, sketch};

on_both!(the_last_credits_are_spent_once);

const CLIENTS: usize = 64;
const COVERED: usize = 100;

async fn the_last_credits_are_spent_once(backend: Backend) {
    let tries = if std::env::var_os("TIKTOMATO_TEST_LONG").is_some() { 10_000 } else { 2_000 };
    let gateways = match backend {
        Backend::Embedded => 1,
        Backend::Distributed => 3,
    };
    let options = Options { gateways, workers: 2, ..Options::default() };
    let cluster = Cluster::start(backend, options).await;
    let body = sketch(&json!({}));
    let price = cluster.user(0).quote(&body).await;
    // One more credit than the covered jobs cost: it must be left in the end.
    let funds = price * i64::try_from(COVERED).unwrap() + 1;
    assert!(price > 1, "a price of 1 would be covered by the odd credit");
    let user = cluster.user(funds);
    let (next, accepted, short) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let clients = (0..CLIENTS).map(async |client| {
        let user = Api { base: cluster.base_of(client % gateways), ..user.clone() };
        while next.fetch_add(1, Ordering::Relaxed) < tries {
            let answer = user.post("/v1/jobs", &body).await;
            match answer.status.as_u16() {
                202 => accepted.fetch_add(1, Ordering::Relaxed),
                402 => {
                    assert_eq!(answer.problem(402), "insufficient_credits");
                    short.fetch_add(1, Ordering::Relaxed)
                }
                _ => panic!("{}: {}", answer.status, String::from_utf8_lossy(&answer.bytes)),
            };
        }
    });
    futures::future::join_all(clients).await;
    assert_eq!(accepted.into_inner(), COVERED);
    assert_eq!(short.into_inner(), tries - COVERED);
    eventually("everything is settled", async || (user.credits().await == (1, 0)).then_some(()))
        .await;
    let all = user.get("/v1/jobs?limit=100&status=succeeded").await.expect(200);
    assert_eq!(all["data"].as_array().unwrap().len(), COVERED);
    assert_eq!(all["has_more"], false);
    cluster.finish().await;
}
