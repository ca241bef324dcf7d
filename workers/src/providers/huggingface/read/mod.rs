//! What the providers behind the router answer with: media, or a call to look at.

mod media;
#[cfg(test)]
mod tests;

use serde::Deserialize;
use serde_json::Value;

pub(super) use self::media::at;
use self::media::{media, urls};
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
