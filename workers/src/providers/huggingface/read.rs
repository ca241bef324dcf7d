//! What the providers behind the router answer with: media, or a call to look at.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::{
    errors,
    route::{Via, is_safe_path, path_of},
};
use crate::providers::{
    Artifact, ArtifactSource, Refusal,
    answer::{Answer, is_plain_id, or_none},
};

/// A call that was accepted.
#[derive(Debug)]
pub(super) enum Began {
    /// The media came with the answer.
    Media(Vec<Artifact>),
    /// It is looked at here, below the router's address and the provider's name.
    Runs { id: String, path: String },
    /// It is done already; the files are here.
    Done { id: String, path: String, files: Vec<String> },
}

/// How a call stands.
#[derive(Debug)]
pub(super) enum Stands {
    Running {
        progress: Option<f64>,
    },
    /// The result is read separately.
    Completed,
    Media(Vec<Artifact>),
    Canceled,
    Failed(Refusal),
}

/// What Replicate calls a prediction.
#[derive(Debug, Deserialize)]
struct Prediction {
    id: String,
    #[serde(default, deserialize_with = "or_none")]
    status: Option<String>,
    #[serde(default)]
    output: Value,
    #[serde(default)]
    error: Value,
}

/// What Wavespeed wraps everything in.
#[derive(Debug, Deserialize)]
struct Wrapped {
    data: Value,
}

/// What a good answer to a submit brings.
///
/// # Errors
/// `Unknown`: it was accepted, but not in words that can be read.
pub(super) fn submitted(via: Via, answer: &Answer) -> Result<Began, Refusal> {
    let unread = || Refusal::Unknown(format!("{} answered with something else", via.name()));
    if let Some(kind) = answer.content_type().filter(|kind| kind.starts_with("image/")) {
        let source = ArtifactSource::Bytes(answer.body.clone());
        return Ok(Began::Media(vec![Artifact { content_type: Some(kind), source }]));
    }
    let body = answer.json::<Value>().ok_or_else(unread)?;
    let began = match via {
        Via::HfInference => None,
        Via::FalAi => fal_queued(&body),
        Via::Together => together_queued(&body),
        Via::Replicate => replicate_began(&body),
        Via::Wavespeed => wavespeed_queued(&body),
    };
    match began {
        Some(began) => Ok(began),
        None => media(&body).map(Began::Media).ok_or_else(unread),
    }
}

fn fal_queued(body: &Value) -> Option<Began> {
    let id = plain(&body["request_id"])?;
    let path = body["response_url"].as_str().and_then(path_of)?;
    let path = path.strip_suffix("/response").map(str::to_owned).unwrap_or(path);
    Some(Began::Runs { id, path })
}

fn together_queued(body: &Value) -> Option<Began> {
    let id = plain(&body["id"]).filter(|_| body["status"].is_string())?;
    Some(Began::Runs { path: format!("/v2/videos/{id}"), id })
}

fn wavespeed_queued(body: &Value) -> Option<Began> {
    let data = &body["data"];
    let (id, path) = (plain(&data["id"])?, data["urls"]["get"].as_str().and_then(path_of)?);
    Some(Began::Runs { id, path })
}

fn replicate_began(body: &Value) -> Option<Began> {
    let prediction = Prediction::deserialize(body).ok().filter(|p| is_plain_id(&p.id))?;
    let path = format!("/v1/predictions/{}", prediction.id);
    let files = urls(&prediction.output);
    Some(match files.is_empty() {
        false => Began::Done { id: prediction.id, path, files },
        // It was not done within the time that the call was kept open; or it has failed.
        true => Began::Runs { id: prediction.id, path },
    })
}

/// How a call stands, by a good answer to a look.
///
/// # Errors
/// `Unknown`: the answer cannot be read.
pub(super) fn looked(via: Via, answer: &Answer) -> Result<Stands, Refusal> {
    let unread = || Refusal::Unknown(format!("{} showed something else", via.name()));
    let body = answer.json::<Value>().ok_or_else(unread)?;
    let (state, error, files) = match via {
        Via::HfInference => return Err(unread()),
        Via::FalAi => (body["status"].clone(), Value::Null, Vec::new()),
        Via::Together => {
            let files = urls(&body["outputs"]["video_url"]);
            (body["status"].clone(), body["error"].clone(), files)
        }
        Via::Replicate => {
            let prediction = Prediction::deserialize(&body).map_err(|_| unread())?;
            let state = prediction.status.map_or(Value::Null, Value::String);
            (state, prediction.error, urls(&prediction.output))
        }
        Via::Wavespeed => {
            let data = Wrapped::deserialize(&body).map_err(|_| unread())?.data;
            (data["status"].clone(), data["error"].clone(), urls(&data["outputs"]))
        }
    };
    Ok(match state.as_str().ok_or_else(unread)? {
        "COMPLETED" => Stands::Completed,
        "completed" | "succeeded" => match at(&files) {
            Some(media) => Stands::Media(media),
            None => Stands::Failed(Refusal::Unknown("it ended without a result".to_owned())),
        },
        "failed" => Stands::Failed(errors::of_failure(&error)),
        "canceled" | "cancelled" | "aborted" => Stands::Canceled,
        // Whatever else there may be is not an end.
        _ => Stands::Running { progress: body["progress"].as_f64().map(|part| part / 100.0) },
    })
}

/// The media in a result that came by itself. `Err`: it was all blacked out by the content rules.
pub(super) fn result(answer: &Answer) -> Result<Vec<Artifact>, Refusal> {
    let nothing = || Refusal::Unknown("it ended without a result".to_owned());
    let body = answer.json::<Value>().ok_or_else(nothing)?;
    match media(&body) {
        Some(media) => Ok(media),
        None if body["has_nsfw_concepts"].as_array().is_some_and(|all| !all.is_empty()) => {
            Err(Refusal::Moderated)
        }
        None => Err(nothing()),
    }
}

/// Files at these addresses, if there are any and all of them are addresses.
pub(super) fn at(files: &[String]) -> Option<Vec<Artifact>> {
    let files = files.iter().map(|file| {
        let source = ArtifactSource::Url(Url::parse(file).ok()?);
        Some(Artifact { content_type: None, source })
    });
    files.collect::<Option<Vec<_>>>().filter(|files| !files.is_empty())
}

/// The media of a JSON answer, in whichever field a provider has them. A picture that the content
/// rules have blacked out is none.
fn media(body: &Value) -> Option<Vec<Artifact>> {
    if let Some(data) = body["data"].as_array() {
        return all(data.iter().map(|file| match file["b64_json"].as_str() {
            Some(text) => bytes(text),
            None => located(file),
        }));
    }
    if let files @ [_, ..] = urls(&body["output"]).as_slice() {
        return at(files);
    }
    let flagged = |index: usize| match &body["has_nsfw_concepts"] {
        Value::Array(flags) => flags.get(index).and_then(Value::as_bool).unwrap_or(false),
        flag => flag.as_bool().unwrap_or(false),
    };
    let many = body["images"].as_array().or_else(|| body["videos"].as_array());
    let one = [&body["image"], &body["video"]].into_iter().find(|file| file.is_object());
    let files: Vec<&Value> = many.into_iter().flatten().chain(one).collect();
    let kept = files.iter().enumerate().filter(|(index, _)| !flagged(*index));
    all(kept.map(|(_, file)| located(file)))
}

fn all(files: impl Iterator<Item = Option<Artifact>>) -> Option<Vec<Artifact>> {
    files.collect::<Option<Vec<_>>>().filter(|files| !files.is_empty())
}

fn located(file: &Value) -> Option<Artifact> {
    let url = file["url"].as_str().or_else(|| file.as_str())?;
    let content_type = file["content_type"].as_str().map(str::to_owned);
    Some(Artifact { content_type, source: ArtifactSource::Url(Url::parse(url).ok()?) })
}

fn bytes(text: &str) -> Option<Artifact> {
    let text = text.split_once("base64,").map_or(text, |(_, text)| text);
    let bytes = STANDARD.decode(text.trim()).ok()?;
    Some(Artifact { content_type: None, source: ArtifactSource::Bytes(bytes.into()) })
}

/// One address, or a list of them.
fn urls(value: &Value) -> Vec<String> {
    match value {
        Value::String(url) => vec![url.clone()],
        Value::Array(urls) => {
            urls.iter().filter_map(|url| url.as_str().map(str::to_owned)).collect()
        }
        _ => Vec::new(),
    }
}

fn plain(id: &Value) -> Option<String> {
    id.as_str().filter(|id| is_plain_id(id)).map(str::to_owned)
}

/// A path that was kept, if it may still follow the router's address.
pub(super) fn kept_path(path: &str) -> Result<&str, Refusal> {
    if is_safe_path(path) {
        return Ok(path);
    }
    Err(Refusal::Unknown("there is no such call".to_owned()))
}

#[cfg(test)]
mod tests {
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
        for nothing in [json!({}), json!([]), json!({"data": []}), json!({"images": [{"url": 3}]})]
        {
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
        assert_eq!(
            path(Via::Wavespeed, wave),
            ("w1".into(), "/api/v3/predictions/w1/result".into())
        );
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
            (
                Via::Together,
                json!({"status": "completed", "outputs": {"video_url": "https://a/v"}}),
            ),
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
}
