//! The usage log: what it holds, what it comes to, and its end.

use serde_json::{Value, json};

use crate::harness::{Answer, Backend, Cluster, eventually, sketch};

on_both!(requests_are_logged_and_summed_up, the_log_ends_after_90_days);

const DAYS_91: u64 = 91 * 24 * 60 * 60;

async fn requests_are_logged_and_summed_up(backend: Backend) {
    let mut cluster = Cluster::plain(backend).await;
    let (user, other) = (cluster.user(10_000), cluster.user(10_000));
    let firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0";
    let secret = "walrus";
    let key = json!({"name": "second", "scopes": ["jobs:write", "jobs:read"]});
    let key = user.post("/v1/keys", &key).await.expect(201);
    let submit = user.http.post(format!("{}/v1/jobs", user.base)).header("User-Agent", firefox);
    let submit = submit.bearer_auth(key["key"].as_str().unwrap());
    let job = submit.json(&sketch(&json!({"prompt": secret})));
    let job = Answer::to(job).await.unwrap().expect(202);
    let id = job["id"].as_str().unwrap().to_owned();
    user.until(&id, "succeeded").await;
    let charged = user.job(&id).await["credits"]["charged"].as_i64().unwrap();
    assert!(charged > 0);
    user.get(&format!("/v1/jobs?model=demo/sketch&status={secret}")).await.problem(422);
    user.get(&format!("/v1/{secret}")).await.problem(404);
    other.get("/v1/credits").await.expect(200);

    let usage = async |query: &str| -> Vec<Value> {
        let usage = user.get(&format!("/v1/usage{query}")).await.expect(200);
        usage["data"].as_array().unwrap().clone()
    };
    let today = chrono::Utc::now().date_naive().to_string();
    let by_key = eventually("the log is written", async || {
        let parts = usage("?group=key").await;
        parts.iter().any(|part| part["key"] == key["id"] && part["requests"] == 1).then_some(parts)
    })
    .await;
    let second = by_key.iter().find(|part| part["key"] == key["id"]).unwrap();
    assert_eq!((&second["jobs"], &second["credits"]), (&json!(1), &json!(charged)));
    assert_eq!(by_key.len(), 2, "{by_key:?}");
    let by_model = usage("?group=model").await;
    let sketches = by_model.iter().find(|part| part["model"] == "demo/sketch").unwrap();
    assert_eq!(sketches["requests"], 1);
    assert_eq!((&sketches["jobs"], &sketches["credits"]), (&json!(1), &json!(charged)));
    let by_day = usage("").await;
    // The test may run over midnight.
    let sum = |name: &str| by_day.iter().map(|day| day[name].as_i64().unwrap()).sum::<i64>();
    assert!(by_day.len() <= 2 && by_day[0]["day"].as_str().unwrap() <= today.as_str());
    assert_eq!((sum("jobs"), sum("credits")), (1, charged));
    assert!(sum("requests") >= 4, "{by_day:?}");
    assert_eq!(usage("?to=2020-01-31").await, Vec::<Value>::new());
    user.get("/v1/usage?group=hour").await.problem(422);

    // What stops writes what it has, and no more than it should.
    cluster.stop().await;
    let database = cluster.database().await;
    let line = "SELECT method || ' ' || route || ' ' || CAST(status AS text) || ' ' || browser || ' ' || \
                address || ' ' || COALESCE(model, '-') AS line FROM usage_log";
    let lines = database.lines(line).await;
    assert!(
        lines.contains(&"POST /v1/jobs 202 Firefox 127.0.0.1 demo/sketch".to_owned()),
        "{lines:?}"
    );
    assert!(lines.contains(&"GET /v1/jobs 422 none 127.0.0.1 -".to_owned()), "{lines:?}");
    assert!(lines.contains(&"GET /v1/usage 422 none 127.0.0.1 -".to_owned()), "{lines:?}");
    assert!(!lines.iter().any(|line| line.contains(secret) || line.contains("Mozilla")));
    let whose = "SELECT count(*) AS n FROM usage_log WHERE key_id IS NULL OR workspace_id IS NULL OR user_id IS NULL";
    assert_eq!(database.number(whose).await, 0, "each had a key");
    if backend == Backend::Distributed {
        let rest = database.number("SELECT count(*) AS n FROM usage_log_rest").await;
        assert_eq!(rest, 0, "each day has its partition");
    }
    database.close().await;
    cluster.start_all().await;
    cluster.finish().await;
}

async fn the_log_ends_after_90_days(backend: Backend) {
    let mut cluster = Cluster::plain(backend).await;
    let user = cluster.user(10_000);
    let id = user.submit(&json!({})).await;
    let job = user.until(&id, "succeeded").await;
    let charged = job["credits"]["charged"].clone();
    cluster.stop().await;
    let database = cluster.database().await;
    let count = "SELECT count(*) AS n FROM usage_log";
    assert!(database.number(count).await >= 2);
    if backend == Backend::Distributed {
        // A row that no partition was made for.
        database
            .write(
                "INSERT INTO usage_log (at, method, route, status, browser, address) \
                 VALUES (1, 'GET', '/v1/jobs', 200, 'none', '127.0.0.1')",
            )
            .await;
    }
    database.close().await;
    cluster.set("TIKTOMATO__CLOCK__OFFSET_SECONDS", &DAYS_91.to_string());
    cluster.start_all().await;
    let database = cluster.database().await;
    let first_day = chrono::Utc::now().date_naive().pred_opt().unwrap();
    let old = format!("{count} WHERE at < {}", (chrono::Utc::now().timestamp_micros()));
    eventually("the log is gone", async || (database.number(&old).await == 0).then_some(())).await;
    let metrics = async |ops: &str| {
        let answer = cluster.http.get(format!("{ops}/metrics")).send().await.unwrap();
        answer.text().await.unwrap()
    };
    eventually("it is counted", async || {
        for ops in cluster.ops() {
            if metrics(&ops).await.contains("tiktomato_retention_deleted_total{what=\"usage\"}") {
                return Some(());
            }
        }
        None
    })
    .await;
    database.close().await;
    // What was charged stays known.
    let path = format!("/v1/usage?from={first_day}");
    let days = user.get(&path).await.expect(200);
    let credits: i64 =
        days["data"].as_array().unwrap().iter().map(|day| day["credits"].as_i64().unwrap()).sum();
    assert_eq!(json!(credits), charged, "{days}");
    cluster.finish().await;
}
