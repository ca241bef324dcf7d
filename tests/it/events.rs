//! Following a job: long waits, conditional requests and event streams.

use std::time::{Duration, Instant};

use futures::StreamExt;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Api, Backend, Cluster, is_terminal};

on_both!(
    a_wait_ends_with_the_job,
    an_etag_saves_the_body,
    a_stream_tells_every_change,
    a_stream_resumes
);

async fn a_wait_ends_with_the_job(backend: Backend) {
    let cluster = Cluster::plain(backend).await;
    let user = cluster.user(10_000);
    let id = user.submit(&json!({"delay_seconds": 1})).await;
    let job = user.get(&format!("/v1/jobs/{id}?wait=60")).await.expect(200);
    assert_eq!(job["status"], "succeeded", "{job}");
    // Nothing to wait for: at once.
    let asked = Instant::now();
    user.get(&format!("/v1/jobs/{id}?wait=60")).await.expect(200);
    assert!(asked.elapsed() < Duration::from_secs(5));
    // A wait that ends before the job answers with what is.
    let slow = user.submit(&json!({"delay_seconds": 10})).await;
    let job = user.get(&format!("/v1/jobs/{slow}?wait=1")).await.expect(200);
    assert!(!is_terminal(&job), "{job}");
    for wait in ["-1", "x"] {
        user.get(&format!("/v1/jobs/{id}?wait={wait}")).await.problem(422);
    }
    user.ended(&slow).await;
    cluster.finish().await;
}

async fn an_etag_saves_the_body(backend: Backend) {
    let cluster = Cluster::plain(backend).await;
    let user = cluster.user(10_000);
    let id = user.submit(&json!({"delay_seconds": 2})).await;
    let path = format!("/v1/jobs/{id}");
    let early = user.get(&path).await;
    let early = early.header("etag").expect("an ETag").to_owned();
    user.until(&id, "succeeded").await;
    let ask = async |tag: &str| {
        Answer::to(user.request(Method::GET, &path).header("If-None-Match", tag)).await.unwrap()
    };
    let changed = ask(&early).await;
    assert_eq!(changed.status, 200, "the job has changed since");
    let tag = changed.header("etag").unwrap();
    assert_ne!(tag, early);
    let same = ask(tag).await;
    assert_eq!((same.status.as_u16(), same.bytes.len()), (304, 0));
    cluster.finish().await;
}

/// One event of a stream.
#[derive(Debug)]
struct Event {
    id: String,
    name: String,
    job: Value,
}

/// Reads a stream until the server closes it.
async fn stream(user: &Api, id: &str, last: Option<&str>) -> Vec<Event> {
    let mut request = user.request(Method::GET, &format!("/v1/jobs/{id}/events"));
    if let Some(last) = last {
        request = request.header("Last-Event-ID", last);
    }
    let response = request.send().await.unwrap();
    if response.status() == 204 {
        return Vec::new();
    }
    assert_eq!(response.status(), 200);
    let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
    assert!(kind.starts_with("text/event-stream"), "{kind}");
    let mut body = response.bytes_stream();
    let mut text = Vec::new();
    while let Some(part) = body.next().await {
        text.extend_from_slice(&part.unwrap());
    }
    let text = String::from_utf8(text).unwrap();
    let blocks = text.split("\n\n").filter(|block| block.contains("data:"));
    blocks.map(event).collect()
}

fn event(block: &str) -> Event {
    let field = |name: &str| {
        let lines = block.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        lines.map(str::trim_start).collect::<Vec<_>>().join("\n")
    };
    Event {
        id: field("id"),
        name: field("event"),
        job: serde_json::from_str(&field("data")).unwrap(),
    }
}

async fn a_stream_tells_every_change(backend: Backend) {
    let cluster = Cluster::plain(backend).await;
    let user = cluster.user(10_000);
    let id = user.submit(&json!({"delay_seconds": 2})).await;
    let events = stream(&user, &id, None).await;
    assert!(events.len() >= 2, "the stream began before the end: {events:?}");
    assert!(events.iter().all(|event| event.name == "status" && event.job["id"] == id.as_str()));
    let ids: Vec<i64> = events.iter().map(|event| event.id.parse().unwrap()).collect();
    assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
    let (last, before) = events.split_last().unwrap();
    assert_eq!(last.job["status"], "succeeded");
    assert!(before.iter().all(|event| !is_terminal(&event.job)), "{events:?}");
    cluster.finish().await;
}

async fn a_stream_resumes(backend: Backend) {
    let cluster = Cluster::plain(backend).await;
    let user = cluster.user(10_000);
    let id = user.submit(&json!({})).await;
    user.until(&id, "succeeded").await;
    let events = stream(&user, &id, None).await;
    let last = &events.last().unwrap().id;
    assert_eq!(events.last().unwrap().job["status"], "succeeded");
    // Who has missed something gets it; who has seen the end gets no second one.
    let missed = stream(&user, &id, Some("1")).await;
    assert_eq!(missed.last().unwrap().job["status"], "succeeded");
    let nothing = stream(&user, &id, Some(last)).await;
    assert!(nothing.is_empty(), "{nothing:?}");
    cluster.finish().await;
}
