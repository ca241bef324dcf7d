//! A new catalogue is rolled out while old workers still run: they leave the jobs of models that they
//! do not know to those that do, and nobody waits behind such jobs.

use std::time::Instant;

use serde_json::json;

use crate::harness::{Api, Backend, Cluster, Options, eventually, uuid_of};

mod rolled_out {
    distributed!(old_workers_leave_jobs_of_new_models);
    use super::old_workers_leave_jobs_of_new_models;
}
on_both!(a_job_whose_model_is_gone_waits);

const OLD: &str = include_str!("../../config/models.toml");

/// The catalogue with one more model.
fn new() -> String {
    let end = OLD[1..].find("\n[[model]]\nid = \"demo/clip\"").unwrap() + 1;
    let start = OLD.find("[[model]]").unwrap();
    let sketch = &OLD[start..end];
    format!("{OLD}\n{}", sketch.replace("\"demo/sketch\"", "\"demo/fresh\""))
}

async fn submit(user: &Api, model: &str) -> String {
    let body = json!({"model": model, "input": {"prompt": "a tomato"}});
    let job = user.post("/v1/jobs", &body).await.expect(202);
    job["id"].as_str().unwrap().to_owned()
}

/// How often a worker left a job to others.
fn left(cluster: &Cluster) -> usize {
    cluster.logs().matches("the job is left to a worker that knows its model").count()
}

/// More jobs than the workspace has slots.
const MANY: usize = 25;

async fn old_workers_leave_jobs_of_new_models() {
    let models = vec![(Some("workers"), OLD.to_owned()), (None, new())];
    let env = vec![("RUST_LOG", "warn,workers=info".to_owned())];
    let options = Options { env, models, workers: 2, ..Options::default() };
    let mut cluster = Cluster::start(Backend::Distributed, options).await;
    cluster.take("workers-1").stop("TERM").await;
    let user = cluster.user(10_000);
    let began = Instant::now();
    let mut ids = Vec::new();
    for _ in 0..MANY {
        ids.push(submit(&user, "demo/fresh").await);
    }
    eventually("each was looked at", async || (left(&cluster) >= MANY).then_some(())).await;
    // They keep no slot from what this worker knows.
    let known = user.ended(&submit(&user, "demo/sketch").await).await;
    assert_eq!(known["status"], "succeeded", "{known}");
    for id in &ids {
        let job = user.job(id).await;
        assert_eq!((&job["status"], &job["attempts"]), (&json!("queued"), &json!([])), "{job}");
    }
    // Each comes back now and then, not again and again.
    let most = MANY * (usize::try_from(began.elapsed().as_secs()).unwrap() * 2 + 2);
    assert!(left(&cluster) <= most, "{} times, at most {most}", left(&cluster));
    // The new worker takes them all, beside the old one.
    cluster.start_all().await;
    for id in &ids {
        let job = user.ended(id).await;
        assert_eq!(job["status"], "succeeded", "{job}");
        assert_eq!(job["attempts"].as_array().unwrap().len(), 1, "{job}");
    }
    cluster.finish().await;
}

/// A job that comes back to the queue when its model is in no catalogue any more.
async fn a_job_whose_model_is_gone_waits(backend: Backend) {
    let env = vec![("RUST_LOG", "warn,workers=info".to_owned())];
    let cluster = Cluster::start(backend, Options { env, ..Options::default() }).await;
    let user = cluster.user(10_000);
    let body = json!({"model": "demo/sketch", "input": {"prompt": "busy", "fail": "throttled"}});
    let job = user.post("/v1/jobs", &body).await.expect(202);
    let id = job["id"].as_str().unwrap();
    let attempts = async || user.job(id).await["attempts"].as_array().unwrap().len();
    eventually("it was tried", async || (attempts().await > 0).then_some(())).await;
    let database = cluster.database().await;
    let key = database.literal(uuid_of(id));
    let rename = |model: &str| format!("UPDATE jobs SET model = '{model}' WHERE id = {key}");
    assert_eq!(database.write(&rename("demo/gone")).await, 1);
    eventually("it is left alone", async || (left(&cluster) > 0).then_some(())).await;
    let tried = attempts().await;
    assert_eq!(user.ended(&submit(&user, "demo/sketch").await).await["status"], "succeeded");
    let before = left(&cluster);
    eventually("it comes back", async || (left(&cluster) > before).then_some(())).await;
    assert_eq!((attempts().await, &user.job(id).await["status"]), (tried, &json!("queued")));
    assert_eq!(database.write(&rename("demo/sketch")).await, 1);
    database.close().await;
    eventually("it is tried again", async || (attempts().await > tried).then_some(())).await;
    assert_eq!(user.cancel(id).await["status"], "canceled");
    cluster.finish().await;
}
