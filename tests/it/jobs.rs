//! A job from its submit to its end, and what it costs.

use serde_json::{Value, json};

use crate::harness::{Answer, Backend, Cluster, sketch};

on_both!(
    a_job_succeeds,
    a_clip_succeeds,
    the_quote_is_the_charge,
    max_credits_is_a_lock,
    models_are_described
);

async fn a_job_succeeds(backend: Backend) {
    let cluster = Cluster::plain(backend).await;
    let user = cluster.user(10_000);
    let mut body = sketch(&json!({"count": 2}));
    let price = user.quote(&body).await;
    body["metadata"] = json!({"order": "17"});
    let answer = user.post("/v1/jobs", &body).await;
    let job = answer.expect(202);
    let id = job["id"].as_str().unwrap();
    assert!(id.starts_with("job_"), "{job}");
    assert_eq!(answer.header("location"), Some(format!("/v1/jobs/{id}").as_str()));
    assert_eq!((&job["object"], &job["model"]), (&json!("job"), &json!("demo/sketch")));
    assert!(matches!(job["status"].as_str(), Some("queued" | "running")), "{job}");
    assert_eq!(job["credits"], json!({"held": price, "charged": 0, "released": 0}));
    // It may be settled at any moment: either it is held or it is charged.
    let (available, held) = user.credits().await;
    assert!(available == 10_000 - price && (held == price || held == 0), "{available} {held}");

    let job = user.until(id, "succeeded").await;
    assert_eq!(job["credits"], json!({"held": 0, "charged": price, "released": 0}));
    assert_eq!(user.credits().await, (10_000 - price, 0));
    assert_eq!((&job["error"], &job["queue"]), (&Value::Null, &Value::Null));
    assert_eq!(job["metadata"], json!({"order": "17"}));
    assert_eq!(job["input"]["prompt"], "a red tomato");
    let output = job["output"].as_array().unwrap();
    assert_eq!(output.len(), 2, "{job}");
    for file in output {
        assert_eq!((&file["width"], &file["height"]), (&json!(64), &json!(64)));
    }
    let attempts = job["attempts"].as_array().unwrap();
    assert_eq!(attempts.len(), 1, "{job}");
    assert_eq!(
        (&attempts[0]["provider"], &attempts[0]["outcome"]),
        (&json!("demo"), &json!("succeeded"))
    );
    let times =
        ["created_at", "started_at", "finished_at", "expires_at"].map(|name| time(&job, name));
    assert!(times.is_sorted(), "{job}");

    let entries = user.get("/v1/credits/entries").await.expect(200);
    let kinds: Vec<&str> = entries["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["capture", "hold", "grant"], "{entries}");
    cluster.finish().await;
}

/// What a job was charged.
fn charged(job: &Value) -> i64 {
    job["credits"]["charged"].as_i64().unwrap()
}

fn time(job: &Value, name: &str) -> chrono::DateTime<chrono::FixedOffset> {
    let text = job[name].as_str().unwrap_or_else(|| panic!("{name} of {job}"));
    assert!(text.ends_with('Z'), "{name} is not UTC: {text}");
    chrono::DateTime::parse_from_rfc3339(text).unwrap()
}

async fn a_clip_succeeds(backend: Backend) {
    let cluster = Cluster::plain(backend).await;
    let user = cluster.user(100_000);
    let body =
        json!({"model": "demo/clip", "input": {"prompt": "a tomato rolls", "duration_seconds": 1}});
    let job = user.post("/v1/jobs", &body).await.expect(202);
    let job = user.until(job["id"].as_str().unwrap(), "succeeded").await;
    let file = &job["output"][0];
    assert!(file["duration_seconds"].as_f64().is_some_and(|seconds| seconds > 0.0), "{job}");
    let bytes = Answer::to(user.http.get(file["url"].as_str().unwrap())).await.unwrap();
    assert_eq!(bytes.status, 200);
    assert_eq!(Some(bytes.bytes.len() as u64), file["bytes"].as_u64());
    cluster.finish().await;
}

async fn the_quote_is_the_charge(backend: Backend) {
    let cluster = Cluster::plain(backend).await;
    let user = cluster.user(100_000);
    let mut left = 100_000;
    for extra in [json!({}), json!({"count": 3}), json!({"width": 128, "height": 96})] {
        let body = sketch(&extra);
        let price = user.quote(&body).await;
        assert!(price > 0);
        let id = user.submit(&extra).await;
        assert_eq!(charged(&user.until(&id, "succeeded").await), price, "{extra}");
        left -= price;
        assert_eq!(user.credits().await, (left, 0));
    }
    cluster.finish().await;
}

async fn max_credits_is_a_lock(backend: Backend) {
    let cluster = Cluster::plain(backend).await;
    let user = cluster.user(10_000);
    let mut body = sketch(&json!({}));
    let price = user.quote(&body).await;
    body["max_credits"] = json!(price - 1);
    assert_eq!(user.post("/v1/jobs", &body).await.problem(402), "max_credits_exceeded");
    assert_eq!(user.credits().await, (10_000, 0));
    body["max_credits"] = json!(price);
    let job = user.post("/v1/jobs", &body).await.expect(202);
    user.until(job["id"].as_str().unwrap(), "succeeded").await;
    let poor = cluster.user(price - 1);
    let refused = poor.post("/v1/jobs", &sketch(&json!({}))).await;
    assert_eq!(refused.problem(402), "insufficient_credits");
    cluster.finish().await;
}

async fn models_are_described(backend: Backend) {
    let cluster = Cluster::plain(backend).await;
    let user = cluster.user(0);
    let models = user.get("/v1/models").await.expect(200);
    let ids: Vec<&str> = models["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|model| model["id"].as_str().unwrap())
        .collect();
    assert!(ids.contains(&"demo/sketch") && ids.contains(&"demo/clip"), "{ids:?}");
    let model = user.get("/v1/models/demo/sketch").await.expect(200);
    assert_eq!(model["id"], "demo/sketch");
    user.get("/v1/models/demo/none").await.problem(404);
    // Every model's example is an input that works.
    for model in models["data"].as_array().unwrap() {
        let body = json!({"model": model["id"], "input": model["example"]});
        assert!(model["example"]["prompt"].is_string(), "{model}");
        user.post("/v1/jobs/quote", &body).await.expect(200);
    }
    let openapi = user.get("/openapi.json").await.expect(200);
    let described = &openapi["components"]["schemas"]["ModelBody"]["properties"]["example"];
    assert!(described.is_object(), "{openapi}");
    assert!(openapi["openapi"].as_str().unwrap().starts_with("3.1"), "{}", openapi["openapi"]);
    for path in ["/v1/jobs", "/v1/jobs/{id}", "/v1/jobs/{id}/cancel", "/v1/credits", "/v1/models"] {
        assert!(openapi["paths"][path].is_object(), "{path} is not in the OpenAPI document");
    }
    cluster.finish().await;
}
