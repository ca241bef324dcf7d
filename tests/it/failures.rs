//! The demo provider's failures on request: what a job becomes and what it costs.

use serde_json::{Value, json};

use crate::harness::{Api, Backend, Cluster};

on_both!(rejected, moderated, throttled, unavailable, unknown);

fn outcomes(job: &Value) -> Vec<&str> {
    let attempts = job["attempts"].as_array().unwrap();
    attempts.iter().map(|attempt| attempt["outcome"].as_str().unwrap()).collect()
}

/// A failed job says why and costs nothing.
async fn costs_nothing(user: &Api, job: &Value) {
    assert_eq!((&job["status"], &job["output"]), (&json!("failed"), &json!([])), "{job}");
    let error = &job["error"];
    assert!(error["code"].as_str().is_some_and(|code| !code.is_empty()), "{job}");
    assert!(error["detail"].as_str().is_some_and(|detail| detail.len() > 5), "{job}");
    let credits = &job["credits"];
    assert_eq!((&credits["held"], &credits["charged"]), (&json!(0), &json!(0)), "{job}");
    assert!(credits["released"].as_i64().unwrap() > 0, "{job}");
    assert_eq!(user.credits().await, (10_000, 0));
    let entries = user.get("/v1/credits/entries").await.expect(200);
    let kinds: Vec<&str> = entries["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["release", "hold", "grant"]);
}

async fn rejected(backend: Backend) {
    let cluster = Cluster::plain(backend).await;
    let user = cluster.user(10_000);
    let job = user.ended(&user.submit(&json!({"fail": "rejected"})).await).await;
    costs_nothing(&user, &job).await;
    assert_eq!(outcomes(&job), ["rejected"]);
    assert_eq!(cluster.accepted_by(&user.email).await, 0, "nothing was accepted");
    cluster.finish().await;
}

async fn moderated(backend: Backend) {
    let cluster = Cluster::plain(backend).await;
    let user = cluster.user(10_000);
    let job = user.ended(&user.submit(&json!({"fail": "moderated"})).await).await;
    costs_nothing(&user, &job).await;
    assert_eq!(outcomes(&job), ["moderated"]);
    cluster.finish().await;
}

async fn throttled(backend: Backend) {
    let cluster = Cluster::plain(backend).await;
    let user = cluster.user(10_000);
    let job = user.ended(&user.submit(&json!({"fail": "throttled"})).await).await;
    assert_eq!(outcomes(&job), ["throttled", "throttled", "succeeded"], "{job}");
    assert_eq!(job["status"], "succeeded");
    let charged = job["credits"]["charged"].as_i64().unwrap();
    assert_eq!(user.credits().await, (10_000 - charged, 0));
    cluster.finish().await;
}

async fn unavailable(backend: Backend) {
    let cluster = Cluster::plain(backend).await;
    let user = cluster.user(10_000);
    let job = user.ended(&user.submit(&json!({"fail": "unavailable"})).await).await;
    costs_nothing(&user, &job).await;
    assert_eq!(job["error"]["code"], "provider_unavailable");
    assert_eq!(outcomes(&job), ["unavailable"; 5], "five proven refusals");
    assert_eq!(cluster.accepted_by(&user.email).await, 0);
    cluster.finish().await;
}

/// The provider accepts it, and the answer is lost. It is found again, or it is given up: it is
/// never sent a second time.
async fn unknown(backend: Backend) {
    let cluster = Cluster::plain(backend).await;
    let user = cluster.user(10_000);
    let job = user.ended(&user.submit(&json!({"fail": "unknown"})).await).await;
    assert_eq!(outcomes(&job).len(), 1, "{job}");
    assert_eq!(cluster.accepted_by(&user.email).await, 1);
    if job["status"] == "succeeded" {
        let charged = job["credits"]["charged"].as_i64().unwrap();
        assert!(charged > 0);
        assert_eq!(user.credits().await, (10_000 - charged, 0));
    } else {
        costs_nothing(&user, &job).await;
    }
    cluster.finish().await;
}
