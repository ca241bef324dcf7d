//! Answers as the providers give them.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, StatusCode};
use serde_json::json;

use super::*;

fn answer(kind: &str, body: impl Into<bytes::Bytes>) -> Answer {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", kind.parse().unwrap());
    Answer { status: StatusCode::OK, headers, body: body.into() }
}

fn json_answer(body: &Value) -> Answer {
    answer("application/json", body.to_string())
}

fn places(media: Vec<Artifact>) -> Vec<String> {
    let place = |artifact: Artifact| match artifact.source {
        ArtifactSource::Url(url) => url.to_string(),
        ArtifactSource::Bytes(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
        ArtifactSource::Stream(_) => panic!("a stream"),
    };
    media.into_iter().map(place).collect()
}

#[test]
fn media_can_come_with_the_answer() {
    let now = |via, answer: Answer| match submitted(via, &answer) {
        Ok(Began::Media(media)) => places(media),
        other => panic!("{other:?}"),
    };
    assert_eq!(now(Via::HfInference, answer("image/jpeg; q=1", "bytes")), ["bytes"]);
    let text = STANDARD.encode("picture");
    for body in [
        json!({"data": [{"b64_json": text}]}),
        json!({"data": [{"b64_json": format!("data:image/png;base64,{text}")}]}),
    ] {
        assert_eq!(now(Via::HfInference, json_answer(&body)), ["picture"]);
        assert_eq!(now(Via::Together, json_answer(&body)), ["picture"]);
    }
    let output = json!({"output": ["https://a/1.png"]});
    assert_eq!(now(Via::HfInference, json_answer(&output)), ["https://a/1.png"]);
    let sync = json!({"images": [{"url": "https://a/2.png", "width": null}]});
    assert_eq!(now(Via::FalAi, json_answer(&sync)), ["https://a/2.png"]);
    for nothing in [json!({}), json!([]), json!({"data": []}), json!({"images": [{"url": 3}]})] {
        let unread = submitted(Via::HfInference, &json_answer(&nothing));
        assert!(matches!(unread, Err(Refusal::Unknown(_))), "{unread:?}");
    }
    let page = submitted(Via::FalAi, &answer("text/html", "<html>"));
    assert!(matches!(page, Err(Refusal::Unknown(_))));
}

#[test]
fn a_call_is_looked_at_below_the_router() {
    let path = |via, body: Value| match submitted(via, &json_answer(&body)) {
        Ok(Began::Runs { id, path } | Began::Done { id, path, .. }) => (id, path),
        other => panic!("{other:?}"),
    };
    let fal = json!({"request_id": "r-1", "status": "IN_QUEUE",
        "response_url": "https://queue.fal.run/fal-ai/wan/requests/r-1"});
    assert_eq!(path(Via::FalAi, fal), ("r-1".into(), "/fal-ai/wan/requests/r-1".into()));
    let together = json!({"id": "v1", "status": "queued"});
    assert_eq!(path(Via::Together, together), ("v1".into(), "/v2/videos/v1".into()));
    let wave = json!({"code": 200, "data": {"id": "w1",
        "urls": {"get": "https://evil.example/api/v3/predictions/w1/result"}}});
    assert_eq!(path(Via::Wavespeed, wave), ("w1".into(), "/api/v3/predictions/w1/result".into()));
    let replicate = json!({"id": "p1", "status": "processing", "output": null});
    assert_eq!(path(Via::Replicate, replicate), ("p1".into(), "/v1/predictions/p1".into()));
    let strange = json!({"request_id": "../x", "response_url": "https://q/x"});
    assert!(submitted(Via::FalAi, &json_answer(&strange)).is_err());
}

#[test]
fn how_a_call_stands() {
    let look = |via, body: Value| looked(via, &json_answer(&body)).unwrap();
    for (via, body) in [
        (Via::FalAi, json!({"status": "IN_PROGRESS", "logs": null})),
        (Via::Together, json!({"status": "in_progress"})),
        (Via::Replicate, json!({"id": "p", "status": "starting"})),
        (Via::Wavespeed, json!({"data": {"status": "created"}})),
    ] {
        assert!(matches!(look(via, body), Stands::Running { .. }), "{via:?}");
    }
    assert!(matches!(look(Via::FalAi, json!({"status": "COMPLETED"})), Stands::Completed));
    for (via, body) in [
        (Via::Together, json!({"status": "completed", "outputs": {"video_url": "https://a/v"}})),
        (Via::Replicate, json!({"id": "p", "status": "succeeded", "output": "https://a/v"})),
        (Via::Wavespeed, json!({"data": {"status": "completed", "outputs": ["https://a/v"]}})),
    ] {
        match look(via, body) {
            Stands::Media(media) => assert_eq!(places(media), ["https://a/v"]),
            other => panic!("{via:?}: {other:?}"),
        }
    }
    for (via, body) in [
        (Via::Together, json!({"status": "failed", "error": {"message": "NSFW"}})),
        (Via::Replicate, json!({"id": "p", "status": "failed", "error": "NSFW detected"})),
        (Via::Wavespeed, json!({"data": {"status": "failed", "error": "nsfw"}})),
    ] {
        assert!(matches!(look(via, body), Stands::Failed(Refusal::Moderated)), "{via:?}");
    }
    let empty = json!({"status": "completed", "outputs": {}});
    assert!(matches!(look(Via::Together, empty), Stands::Failed(Refusal::Unknown(_))));
    assert!(looked(Via::FalAi, &answer("text/html", "<html>")).is_err());
}

#[test]
fn what_is_blacked_out_is_no_media() {
    let two = json!({"images": [{"url": "https://a/1"}, {"url": "https://a/2"}],
        "has_nsfw_concepts": [true, false]});
    assert_eq!(places(result(&json_answer(&two)).unwrap()), ["https://a/2"]);
    let none = json!({"images": [{"url": "https://a/1"}], "has_nsfw_concepts": [true]});
    assert_eq!(result(&json_answer(&none)).unwrap_err(), Refusal::Moderated);
    assert!(matches!(result(&json_answer(&json!({}))), Err(Refusal::Unknown(_))));
    let video = json!({"video": {"url": "https://a/v", "content_type": "video/mp4"}});
    assert_eq!(places(result(&json_answer(&video)).unwrap()), ["https://a/v"]);
}
