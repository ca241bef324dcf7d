//! Hostile paths, cursors, headers and methods.

use reqwest::Method;
use serde_json::json;

use crate::harness::{Answer, Backend, Cluster, sketch};

on_both!(hostile_paths, hostile_queries, hostile_headers);

async fn hostile_paths(backend: Backend) {
    let cluster = Cluster::plain(backend).await;
    let user = cluster.user(10_000);
    let long = "a".repeat(5_000);
    let paths = [
        "/v1/jobs/x",
        "/v1/jobs/job_",
        "/v1/jobs/job_x",
        "/v1/jobs/job_ZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZ",
        "/v1/jobs/job_00000000000000000000000000000000",
        "/v1/jobs/key_01980000000070008000000000000000",
        "/v1/jobs/job_01980000-0000-7000-8000-000000000000",
        "/v1/jobs/%00",
        "/v1/jobs/job_%00",
        "/v1/jobs/%ff%fe",
        "/v1/jobs/..%2f..%2fetc%2fpasswd",
        "/v1/jobs/'%20OR%201=1--",
        "/v1/jobs/%F0%9F%8D%85",
        &format!("/v1/jobs/{long}"),
        "/v1/models/demo/%00",
        "/v1/models/..%2f/x",
        "/v1/none",
        "/v1/",
        "/v2/jobs",
        "/v1//jobs",
    ];
    for path in paths {
        let answer = user.get(path).await;
        let status = answer.status.as_u16();
        assert!((400..500).contains(&status), "{path}: {status}");
        answer.problem(status);
    }
    for (method, path) in
        [(Method::PUT, "/v1/jobs"), (Method::PATCH, "/v1/credits"), (Method::DELETE, "/v1/models")]
    {
        Answer::to(user.request(method, path)).await.unwrap().problem(405);
    }
    cluster.finish().await;
}

async fn hostile_queries(backend: Backend) {
    let cluster = Cluster::plain(backend).await;
    let user = cluster.user(10_000);
    let long = "a".repeat(4_000);
    let queries = [
        "limit=0",
        "limit=101",
        "limit=-1",
        "limit=x",
        "limit=1.5",
        "limit=",
        "limit=99999999999999999999",
        "status=done",
        "status=",
        "status=Queued",
        "status=%00",
        "status=submitting",
        "after=x",
        "after=%00",
        "after=%ff",
        "after=job_",
        "after='%20OR%201=1--",
        "after=-1",
        &format!("after={long}"),
        "after=key_01980000000070008000000000000000",
        "model=%00",
        "surprise=1",
        "limit=1&limit=2",
    ];
    for query in queries {
        let answer = user.get(&format!("/v1/jobs?{query}")).await;
        assert_eq!(answer.status, 422, "{query}: {}", String::from_utf8_lossy(&answer.bytes));
        answer.problem(422);
    }
    for query in ["limit=0", "limit=101", "after=x", "after=%00"] {
        user.get(&format!("/v1/credits/entries?{query}")).await.problem(422);
    }
    cluster.finish().await;
}

async fn hostile_headers(backend: Backend) {
    let cluster = Cluster::plain(backend).await;
    let user = cluster.user(10_000);
    let body = sketch(&json!({}));
    for (name, value) in [("Content-Type", "text/plain"), ("Content-Type", "application/xml")] {
        let request =
            user.request(Method::POST, "/v1/jobs").body(body.to_string()).header(name, value);
        let answer = Answer::to(request).await.unwrap();
        assert!((400..500).contains(&answer.status.as_u16()), "{value}: {}", answer.status);
        answer.problem(answer.status.as_u16());
    }
    let request = user.request(Method::POST, "/v1/jobs").json(&body);
    let request = request.header("Idempotency-Key", "a").header("Idempotency-Key", "b");
    let answer = Answer::to(request).await.unwrap();
    assert!((400..500).contains(&answer.status.as_u16()), "two keys: {}", answer.status);
    // A request id from outside must not break a line of the log or come back as it is.
    let request = user.request(Method::GET, "/v1/credits").header("x-request-id", "a\tb\"<script>");
    let answer = Answer::to(request).await.unwrap();
    answer.expect(200);
    assert!(!answer.header("x-request-id").unwrap().contains('<'));
    assert_eq!(user.credits().await, (10_000, 0));
    assert_eq!(user.get("/v1/jobs").await.expect(200)["data"], json!([]));
    cluster.finish().await;
}
