//! What operators see: health, metrics and logs.

use serde_json::json;

use crate::harness::{Answer, Backend, Cluster, Options, eventually, sketch};

on_both!(every_metric_of_the_contract_is_there, health_is_told, logs_name_the_job_but_no_secret);

const METRICS: [&str; 18] = [
    "jobs_submitted_total{model=\"demo/sketch\"}",
    "jobs_finished_total{model=\"demo/sketch\",status=\"succeeded\"}",
    "queue_depth{pool=\"demo\"}",
    "jobs_waiting{pool=\"demo\"}",
    "queue_oldest_seconds{pool=\"demo\"}",
    "jobs_in_flight{",
    "job_wait_seconds_count{pool=\"demo\"}",
    "job_run_seconds_count{pool=\"demo\",provider=\"demo\"}",
    "provider_requests_total{",
    "provider_request_seconds_count{",
    "pool_capacity{pool=\"demo\"}",
    "credits_total{verb=\"hold\"}",
    "credits_total{verb=\"capture\"}",
    "credits_total{verb=\"release\"}",
    "ledger_violations 0",
    "http_requests_total{",
    "http_request_seconds_count{",
    "jobs_finished_total{model=\"demo/sketch\",status=\"failed\"}",
];

async fn metrics(cluster: &Cluster) -> String {
    let mut all = String::new();
    for ops in cluster.ops() {
        let answer = Answer::to(cluster.http.get(format!("{ops}/metrics"))).await.unwrap();
        assert_eq!(answer.status, 200);
        all.push_str(&String::from_utf8(answer.bytes).unwrap());
    }
    all
}

async fn every_metric_of_the_contract_is_there(backend: Backend) {
    let cluster = Cluster::plain(backend).await;
    let user = cluster.user(10_000);
    user.until(&user.submit(&json!({})).await, "succeeded").await;
    user.until(&user.submit(&json!({"fail": "rejected"})).await, "failed").await;
    // Gauges are written when the leader looks; counters at once.
    eventually("all metrics are there", async || {
        let text = metrics(&cluster).await;
        let missing: Vec<&str> = METRICS
            .into_iter()
            .filter(|name| !text.contains(&format!("\ntiktomato_{name}")))
            .collect();
        if !missing.is_empty() {
            eprintln!("missing: {missing:?}");
        }
        missing.is_empty().then_some(())
    })
    .await;
    let text = metrics(&cluster).await;
    assert!(text.contains("route=\"/v1/jobs/{id}\""), "routes are templates, not paths");
    assert!(!text.contains("job_0"), "no id is a label");
    cluster.finish().await;
}

async fn health_is_told(backend: Backend) {
    let cluster = Cluster::plain(backend).await;
    for ops in cluster.ops() {
        for path in ["/livez", "/readyz"] {
            assert_eq!(
                Answer::to(cluster.http.get(format!("{ops}{path}"))).await.unwrap().status,
                200
            );
        }
    }
    for path in ["/metrics", "/livez", "/readyz"] {
        let public = Answer::to(cluster.http.get(format!("{}{path}", cluster.base))).await.unwrap();
        assert_eq!(public.status, 404, "{path} is public");
    }
    cluster.finish().await;
}

async fn logs_name_the_job_but_no_secret(backend: Backend) {
    let env = vec![("RUST_LOG", "info".to_owned())];
    let cluster = Cluster::start(backend, Options { env, ..Options::default() }).await;
    let user = cluster.user(10_000);
    let mut body = sketch(&json!({"prompt": "zebra quagga okapi"}));
    body["metadata"] = json!({"private": "gnu-eland-kudu"});
    let answer = user.post("/v1/jobs", &body).await;
    let job = answer.expect(202);
    let id = job["id"].as_str().unwrap();
    let job = user.until(id, "succeeded").await;
    let url = job["output"][0]["url"].as_str().unwrap();
    assert_eq!(Answer::to(user.http.get(url)).await.unwrap().status, 200);
    let request = answer.header("x-request-id").unwrap();
    eventually("the log names the request and the job", async || {
        let logs = cluster.logs();
        (logs.contains(request) && logs.contains(id)).then_some(())
    })
    .await;
    let logs = cluster.logs();
    let secret = user.key.trim_start_matches("tt_live_");
    let signature = url.split("sig=").nth(1).unwrap().split('&').next().unwrap();
    for (what, hidden) in [
        ("the API key", secret),
        ("a link's signature", signature),
        ("the prompt", "quagga"),
        ("the metadata", "gnu-eland"),
    ] {
        assert!(!logs.contains(hidden), "the log shows {what}");
    }
    cluster.finish().await;
}
