//! `Idempotency-Key`: a submit that may be repeated.

use std::collections::HashSet;

use serde_json::json;

use crate::harness::{Backend, Cluster, sketch};

on_both!(
    a_replay_answers_with_the_same_job,
    many_at_once_make_one_job,
    only_an_accepted_submit_is_kept
);

async fn a_replay_answers_with_the_same_job(backend: Backend) {
    let cluster = Cluster::plain(backend).await;
    let user = cluster.user(10_000);
    let body = sketch(&json!({}));
    let price = user.quote(&body).await;
    let first = user.post_once("order-1", &body).await;
    let job = first.expect(202);
    assert_eq!(first.header("idempotency-replayed"), None);
    let id = job["id"].as_str().unwrap();
    let again = user.post_once("order-1", &body).await;
    assert_eq!(again.expect(202)["id"], id);
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    user.until(id, "succeeded").await;
    // The same JSON, written differently.
    let text = format!(" {{\"input\" : {}, \"model\":\"demo/sketch\"}}\n", body["input"]);
    let request =
        user.request(reqwest::Method::POST, "/v1/jobs").header("Idempotency-Key", "order-1");
    let request = request.header("Content-Type", "application/json").body(text);
    let late = crate::harness::Answer::to(request).await.unwrap();
    assert_eq!(late.expect(202)["id"], id);
    user.post_once("order-1", &sketch(&json!({"seed": 8}))).await.problem(422);
    let other = user.post_once("order-2", &body).await.expect(202);
    assert_ne!(other["id"], id);
    user.ended(other["id"].as_str().unwrap()).await;
    assert_eq!(user.credits().await, (10_000 - 2 * price, 0));
    cluster.finish().await;
}

async fn many_at_once_make_one_job(backend: Backend) {
    let cluster = Cluster::plain(backend).await;
    let user = cluster.user(100_000);
    let body = sketch(&json!({}));
    let price = user.quote(&body).await;
    let submits = (0..32).map(|_| user.post_once("one", &body));
    let answers = futures::future::join_all(submits).await;
    let ids: HashSet<String> =
        answers.iter().map(|answer| answer.expect(202)["id"].as_str().unwrap().into()).collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    let fresh = answers.iter().filter(|answer| answer.header("idempotency-replayed").is_none());
    assert_eq!(fresh.count(), 1);
    user.ended(ids.iter().next().unwrap()).await;
    assert_eq!(user.credits().await, (100_000 - price, 0));
    assert_eq!(user.get("/v1/jobs").await.expect(200)["data"].as_array().unwrap().len(), 1);
    cluster.finish().await;
}

async fn only_an_accepted_submit_is_kept(backend: Backend) {
    let cluster = Cluster::plain(backend).await;
    let user = cluster.user(0);
    let body = sketch(&json!({}));
    assert_eq!(user.post_once("later", &body).await.problem(402), "insufficient_credits");
    user.post_once("later", &sketch(&json!({"width": -1}))).await.problem(422);
    let grant = ["grant-credits", "--user", &user.email, "--credits", "10000", "--reason", "test"];
    assert!(cluster.admin(&grant).0);
    let job = user.post_once("later", &body).await;
    let id = job.expect(202)["id"].as_str().unwrap().to_owned();
    assert_eq!(job.header("idempotency-replayed"), None);
    user.ended(&id).await;
    for key in ["", " ", "\u{7f}", &"k".repeat(1_000)] {
        let request = user.request(reqwest::Method::POST, "/v1/jobs").json(&body);
        let Ok(value) = reqwest::header::HeaderValue::from_bytes(key.as_bytes()) else { continue };
        let answer =
            crate::harness::Answer::to(request.header("Idempotency-Key", value)).await.unwrap();
        assert!((400..500).contains(&answer.status.as_u16()), "{key:?}: {}", answer.status);
        answer.problem(answer.status.as_u16());
    }
    cluster.finish().await;
}
