//! The user's own end of a job: cancel and delete.

use serde_json::{Value, json};

use crate::harness::{Answer, Backend, Cluster, Options, is_terminal};

on_both!(
    a_job_is_deleted,
    a_terminal_job_stays_as_it_is,
    a_running_job_is_canceled,
    a_queued_job_is_canceled
);

async fn a_job_is_deleted(backend: Backend) {
    let cluster = Cluster::plain(backend).await;
    let user = cluster.user(10_000);
    let id = user.submit(&json!({"delay_seconds": 3})).await;
    let path = format!("/v1/jobs/{id}");
    user.delete(&path).await.problem(409);
    let job = user.until(&id, "succeeded").await;
    let url = job["output"][0]["url"].as_str().unwrap().to_owned();
    assert_eq!(Answer::to(user.http.get(&url)).await.unwrap().status, 200);
    let credits = user.credits().await;
    let key = url.split("/media/").nth(1).unwrap().split('?').next().unwrap();
    let file = cluster.data().join("media").join(key);
    assert!(file.is_file(), "{file:?}");
    user.delete(&path).await.expect(204);
    let gone = Answer::to(user.http.get(&url)).await.unwrap();
    assert!((400..500).contains(&gone.status.as_u16()), "{}", gone.status);
    user.get(&path).await.problem(404);
    user.get(&format!("{path}/events")).await.problem(404);
    user.post(&format!("{path}/cancel"), &json!({})).await.problem(404);
    user.delete(&path).await.problem(404);
    assert_eq!(user.get("/v1/jobs").await.expect(200)["data"], json!([]));
    assert_eq!(user.credits().await, credits, "the ledger keeps its entries");
    let entries = user.get("/v1/credits/entries").await.expect(200);
    assert_eq!(entries["data"].as_array().unwrap().len(), 3);
    assert!(!file.exists(), "{file:?} is still there");
    cluster.finish().await;
}

async fn a_terminal_job_stays_as_it_is(backend: Backend) {
    let cluster = Cluster::plain(backend).await;
    let user = cluster.user(10_000);
    let id = user.submit(&json!({})).await;
    let before = user.until(&id, "succeeded").await;
    let after = user.cancel(&id).await;
    for field in ["status", "credits", "finished_at", "attempts"] {
        assert_eq!(after[field], before[field], "{field}");
    }
    cluster.finish().await;
}

async fn a_running_job_is_canceled(backend: Backend) {
    let cluster = Cluster::plain(backend).await;
    let user = cluster.user(10_000);
    let id = user.submit(&json!({"delay_seconds": 20})).await;
    user.until(&id, "running").await;
    user.cancel(&id).await;
    // Twice is as good as once.
    user.cancel(&id).await;
    let job = user.ended(&id).await;
    settled_as_it_says(&job);
    assert_eq!(job["status"], "canceled", "the demo provider confirms: {job}");
    assert_eq!(user.credits().await, (10_000, 0));
    cluster.finish().await;
}

async fn a_queued_job_is_canceled(backend: Backend) {
    let mut cluster = Cluster::start(backend, Options::default()).await;
    let user = cluster.user(1_000_000);
    let queued = if backend == Backend::Distributed {
        // Nobody serves the pool.
        cluster.kill("workers");
        user.submit(&json!({})).await
    } else {
        // A tenant's limit of dispatched jobs is 20: later ones wait.
        for _ in 0..40 {
            user.submit(&json!({"delay_seconds": 5})).await;
        }
        user.submit(&json!({})).await
    };
    let before = user.job(&queued).await;
    assert_eq!(before["status"], "queued", "{before}");
    assert!(before["queue"]["position"].as_i64().is_some(), "{before}");
    let job = user.cancel(&queued).await;
    assert_eq!(job["status"], "canceled", "at once: {job}");
    settled_as_it_says(&job);
    assert_eq!(job["attempts"], json!([]));
    cluster.start_all().await;
    for job in user.get("/v1/jobs?limit=100").await.expect(200)["data"].as_array().unwrap() {
        user.ended(job["id"].as_str().unwrap()).await;
    }
    cluster.finish().await;
}

/// A canceled job costs nothing, a succeeded one does, and none holds anything.
fn settled_as_it_says(job: &Value) {
    assert!(is_terminal(job), "{job}");
    let credits = &job["credits"];
    assert_eq!(credits["held"], 0, "{job}");
    let paid = credits["charged"].as_i64().unwrap() > 0;
    assert_eq!(paid, job["status"] == "succeeded", "{job}");
    assert!(paid || credits["released"].as_i64().unwrap() > 0, "{job}");
}
