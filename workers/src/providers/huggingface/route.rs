//! Where a call goes and what it says: the providers behind the router, each with its own API.
//!
//! A route's model in the catalogue is written as Hugging Face writes it: `model:provider`, such as
//! `black-forest-labs/FLUX.1-dev:fal-ai`. Every address begins with the router's, whatever a
//! provider returns: our token is of no use, and not safe, anywhere else.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use url::Url;

use crate::providers::Refusal;

/// How long Replicate may keep a call open: less than our own patience.
const PREFER: &str = "wait=30";

/// A provider behind the router.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Via {
    HfInference,
    FalAi,
    Together,
    Replicate,
    Wavespeed,
}

/// What a model does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Task {
    TextToImage,
    ImageToImage,
    TextToVideo,
    ImageToVideo,
}

impl Task {
    pub(super) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "text-to-image" => Self::TextToImage,
            "image-to-image" => Self::ImageToImage,
            "text-to-video" => Self::TextToVideo,
            "image-to-video" => Self::ImageToVideo,
            _ => return None,
        })
    }
}

/// A route's model in the catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ModelName {
    pub(super) model: String,
    pub(super) via: Via,
}

impl ModelName {
    /// # Errors
    /// When the catalogue's text is no such name.
    pub(super) fn parse(text: &str) -> Result<Self, Refusal> {
        let wrong = || Refusal::Account(format!("the catalogue's {text:?} is no model:provider"));
        let (model, via) = text.rsplit_once(':').ok_or_else(wrong)?;
        let via = [Via::HfInference, Via::FalAi, Via::Together, Via::Replicate, Via::Wavespeed]
            .into_iter()
            .find(|known| known.name() == via)
            .ok_or_else(wrong)?;
        let parts: Vec<&str> = model.split('/').collect();
        if parts.len() != 2 || !parts.iter().all(|part| is_plain(part)) {
            return Err(wrong());
        }
        Ok(Self { model: model.to_owned(), via })
    }
}

/// A letter, digit, `_`, `-` or `.`, and not a step up.
fn is_plain(part: &str) -> bool {
    !part.is_empty()
        && part.len() <= 128
        && !part.starts_with('.')
        && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
}

/// A path that can follow the router's address.
pub(super) fn is_safe_path(path: &str) -> bool {
    path.len() <= 400 && path.strip_prefix('/').is_some_and(|path| path.split('/').all(is_plain))
}

/// The path of an address that was returned; its host does not matter.
pub(super) fn path_of(returned: &str) -> Option<String> {
    let path = Url::parse(returned).ok()?.path().trim_end_matches('/').to_owned();
    is_safe_path(&path).then_some(path)
}

/// Where calls of a model go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) via: Via,
    task: Task,
    /// The provider's name of the model; Replicate's may end with `:version`.
    provider_id: String,
}

/// A call, ready to be sent.
#[derive(Debug, PartialEq)]
pub(super) struct Outgoing {
    /// After the router's address.
    pub(super) path: String,
    pub(super) headers: Vec<(&'static str, &'static str)>,
    pub(super) body: Value,
}

impl Target {
    /// # Errors
    /// When the provider's name of the model cannot be part of a path, or it does not offer this.
    pub(super) fn new(via: Via, task: Task, provider_id: &str) -> Result<Self, Refusal> {
        let name = match via {
            Via::Replicate => provider_id.split_once(':').map_or(provider_id, |(name, _)| name),
            _ => provider_id,
        };
        let offered = match (via, task) {
            (Via::HfInference, Task::TextToImage) => true,
            // The rest takes the picture's bytes, which a call of ours does not have.
            (Via::HfInference, _) => false,
            (Via::FalAi | Via::Together | Via::Replicate | Via::Wavespeed, _) => true,
        };
        if !offered || !name.split('/').all(is_plain) || provider_id.contains(['?', '#', ' ']) {
            let via = via.name();
            return Err(Refusal::Unavailable(format!("{via} cannot be asked for {provider_id:?}")));
        }
        Ok(Self { via, task, provider_id: provider_id.to_owned() })
    }

    /// The call for this input.
    ///
    /// # Errors
    /// When the input is no object: the catalogue is at fault.
    pub(super) fn outgoing(&self, input: &Value) -> Result<Outgoing, Refusal> {
        let Value::Object(input) = input.clone() else {
            return Err(Refusal::Account("the catalogue's input is no object".to_owned()));
        };
        let id = &self.provider_id;
        let plain = |path: String, body| Outgoing { path, headers: Vec::new(), body };
        Ok(match self.via {
            Via::HfInference => Outgoing {
                path: format!("/hf-inference/models/{id}"),
                headers: vec![("accept", "image/png")],
                body: pipeline(input),
            },
            Via::FalAi => plain(format!("/fal-ai/{id}?_subdomain=queue"), sized(input, fal_size)),
            Via::Together => self.together(input),
            Via::Replicate => {
                let (path, body) = match id.split_once(':') {
                    Some((_, version)) => (
                        "/replicate/v1/predictions".to_owned(),
                        json!({"version": version, "input": input}),
                    ),
                    None => {
                        (format!("/replicate/v1/models/{id}/predictions"), json!({"input": input}))
                    }
                };
                Outgoing { path, headers: vec![("prefer", PREFER)], body }
            }
            Via::Wavespeed => {
                plain(format!("/wavespeed/api/v3/{id}"), sized(input, wavespeed_size))
            }
        })
    }

    fn together(&self, mut input: Map<String, Value>) -> Outgoing {
        input.insert("model".into(), json!(self.provider_id));
        let path = match self.task {
            Task::TextToImage | Task::ImageToImage => {
                // The bytes come with the answer, so that they need not be fetched elsewhere.
                input.insert("response_format".into(), json!("base64"));
                "/together/v1/images/generations"
            }
            Task::TextToVideo | Task::ImageToVideo => "/together/v2/videos",
        };
        Outgoing { path: path.to_owned(), headers: Vec::new(), body: Value::Object(input) }
    }
}

/// The prompt apart from everything else.
fn pipeline(mut input: Map<String, Value>) -> Value {
    let prompt = input.remove("prompt").unwrap_or_default();
    json!({"inputs": prompt, "parameters": input})
}

/// Width and height in the provider's words.
fn sized(
    mut input: Map<String, Value>,
    size: fn(&Value, &Value) -> (&'static str, Value),
) -> Value {
    if let (Some(width), Some(height)) = (input.remove("width"), input.remove("height")) {
        let (name, value) = size(&width, &height);
        input.insert(name.to_owned(), value);
    }
    Value::Object(input)
}

fn fal_size(width: &Value, height: &Value) -> (&'static str, Value) {
    ("image_size", json!({"width": width, "height": height}))
}

fn wavespeed_size(width: &Value, height: &Value) -> (&'static str, Value) {
    ("size", json!(format!("{width}*{height}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outgoing(via: Via, task: Task, id: &str) -> Outgoing {
        let input = json!({"prompt": "x", "width": 64, "height": 32, "seed": 1});
        Target::new(via, task, id).unwrap().outgoing(&input).unwrap()
    }

    #[test]
    fn every_provider_has_its_own_words() {
        let hf = outgoing(Via::HfInference, Task::TextToImage, "a/b");
        assert_eq!(hf.path, "/hf-inference/models/a/b");
        assert_eq!(
            hf.body,
            json!({"inputs": "x", "parameters": {"width": 64, "height": 32, "seed": 1}})
        );
        let fal = outgoing(Via::FalAi, Task::TextToVideo, "fal-ai/wan/v2.2/text-to-video");
        assert_eq!(fal.path, "/fal-ai/fal-ai/wan/v2.2/text-to-video?_subdomain=queue");
        assert_eq!(fal.body["image_size"], json!({"width": 64, "height": 32}));
        assert!(fal.body.get("width").is_none());
        let image = outgoing(Via::Together, Task::TextToImage, "o/m");
        assert_eq!(image.path, "/together/v1/images/generations");
        assert_eq!(
            (&image.body["model"], &image.body["response_format"]),
            (&json!("o/m"), &json!("base64"))
        );
        assert_eq!(outgoing(Via::Together, Task::ImageToVideo, "o/m").path, "/together/v2/videos");
        let model = outgoing(Via::Replicate, Task::TextToImage, "o/m");
        assert_eq!(model.path, "/replicate/v1/models/o/m/predictions");
        assert_eq!(model.headers, [("prefer", PREFER)]);
        assert_eq!(model.body["input"]["prompt"], "x");
        let version = outgoing(Via::Replicate, Task::TextToImage, "o/m:abc123");
        assert_eq!(
            (version.path.as_str(), &version.body["version"]),
            ("/replicate/v1/predictions", &json!("abc123"))
        );
        let wave = outgoing(Via::Wavespeed, Task::TextToImage, "w/m");
        assert_eq!(
            (wave.path.as_str(), &wave.body["size"]),
            ("/wavespeed/api/v3/w/m", &json!("64*32"))
        );
    }

    #[test]
    fn names_and_paths_stay_where_they_belong() {
        for bad in
            ["", "a/b", "a:fal-ai", "a/b:nobody", "../b:fal-ai", "a/b/c:fal-ai", "a/b?:fal-ai"]
        {
            assert!(matches!(ModelName::parse(bad), Err(Refusal::Account(_))), "{bad}");
        }
        assert!(Target::new(Via::HfInference, Task::TextToVideo, "a/b").is_err());
        assert_eq!(
            path_of("https://queue.fal.run/fal-ai/flux/requests/r-1/").as_deref(),
            Some("/fal-ai/flux/requests/r-1")
        );
        assert_eq!(path_of("https://evil.com/../../x/./y").as_deref(), Some("/x/y"));
        for bad in ["", "/x", "https://a", "https://a/", "https://a/b//c", "https://a/%2e%2e/%2f"] {
            assert_eq!(path_of(bad), None, "{bad}");
        }
    }
}
