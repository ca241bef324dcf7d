//! The hub: who serves a model, and under which name. What a model does shows in its name here.

use std::sync::{PoisonError, atomic::Ordering};

use axum::{
    extract::{Path, State},
    response::{IntoResponse as _, Response},
};
use http::{StatusCode, Uri};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::HuggingFace;

/// How the hub answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// A mapping is a list.
    List,
    /// A mapping is an object, as it was.
    Object,
    /// Nobody serves anything.
    Empty,
    /// It is down.
    Down,
}

pub(super) async fn model(
    State(hf): State<HuggingFace>,
    Path((owner, name)): Path<(String, String)>,
    uri: Uri,
) -> Response {
    hf.0.hub_reads.fetch_add(1, Ordering::SeqCst);
    let shape = *hf.0.shape.lock().unwrap_or_else(PoisonError::into_inner);
    let id = format!("{owner}/{name}");
    let mapping = match shape {
        Shape::Down => return StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Shape::Empty => json!([]),
        Shape::List => Value::Array(entries(&id).into_iter().map(|(_, entry)| entry).collect()),
        Shape::Object => {
            let mut object = Map::new();
            for (provider, mut entry) in entries(&id) {
                if let Some(fields) = entry.as_object_mut() {
                    fields.remove("provider");
                }
                object.insert(provider.to_owned(), entry);
            }
            Value::Object(object)
        }
    };
    let mut body = json!({"_id": "621ffdc136468d709f17ddb4", "id": id});
    // Who asks for some fields gets these alone. The official client leaves the brackets out.
    let query = uri.query().unwrap_or_default();
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    let expanded = pairs.any(|(name, _)| name == "expand[]" || name == "expand");
    if expanded {
        body["inferenceProviderMapping"] = mapping;
    } else {
        let task = task(&name.to_lowercase());
        body["modelId"] = json!(id);
        body["pipeline_tag"] = json!(task);
        body["tags"] = json!([task]);
    }
    axum::Json(body).into_response()
}

fn entries(model: &str) -> Vec<(&'static str, Value)> {
    let (_, name) = model.split_once('/').unwrap_or_default();
    let name = name.to_lowercase();
    let task = task(&name);
    let path = if task.ends_with("video") { format!("/{task}") } else { String::new() };
    let ids = [
        ("hf-inference", model.to_owned()),
        ("fal-ai", format!("fal-ai/{name}{path}")),
        ("together", model.to_owned()),
        ("replicate", format!("sim/{name}")),
        ("wavespeed", format!("wavespeed-ai/{name}")),
    ];
    let entry = |(provider, id): (&'static str, String)| {
        let entry = json!({"provider": provider, "providerId": id, "hfModelId": model,
            "status": "live", "task": task});
        (provider, entry)
    };
    ids.into_iter().map(entry).collect()
}

fn task(name: &str) -> &'static str {
    if name.contains("i2v") {
        "image-to-video"
    } else if name.contains("t2v") {
        "text-to-video"
    } else if name.contains("edit") || name.contains("kontext") {
        "image-to-image"
    } else {
        "text-to-image"
    }
}

/// Whether a provider's model makes videos.
pub(super) fn is_video(model: &str) -> bool {
    let model = model.to_lowercase();
    model.contains("video") || model.contains("t2v") || model.contains("i2v")
}
