//! What fal.ai says, as types. Nothing here decides anything.
//!
//! Sources about the service disagree in places, and models add fields of their own: whatever is
//! not needed is not read, and what may be missing or null may be missing or null.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// The answer to a submit.
#[derive(Debug, Deserialize)]
pub(super) struct Queued {
    pub(super) request_id: String,
    #[serde(default, deserialize_with = "or_none")]
    pub(super) status_url: Option<String>,
    #[serde(default, deserialize_with = "or_none")]
    pub(super) response_url: Option<String>,
    #[serde(default, deserialize_with = "or_none")]
    pub(super) cancel_url: Option<String>,
}

/// The answer to a look.
#[derive(Debug, Deserialize)]
pub(super) struct Status {
    pub(super) status: State,
    #[serde(default, deserialize_with = "or_none")]
    pub(super) queue_position: Option<u64>,
    /// Says that the request failed, inside `COMPLETED`.
    #[serde(default)]
    pub(super) error: Value,
    #[serde(default, deserialize_with = "or_none")]
    pub(super) error_type: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum State {
    InQueue,
    InProgress,
    /// Ended, well or badly.
    #[serde(alias = "FAILED", alias = "ERROR", alias = "OK")]
    Completed,
    #[serde(alias = "CANCELLED")]
    Canceled,
    #[serde(other)]
    Other,
}

/// The answer to a cancel: a `status`, or by another source `success`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct CancelAnswer {
    #[serde(default, deserialize_with = "or_none")]
    pub(super) status: Option<String>,
    #[serde(default, deserialize_with = "or_none")]
    pub(super) success: Option<bool>,
}

/// The answer to a deletion: what became of each file. Files that went with the request's own time
/// are no failure.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Forgotten {
    #[serde(default)]
    cdn_delete_results: Vec<ForgottenFile>,
}

#[derive(Debug, Deserialize)]
struct ForgottenFile {
    #[serde(default)]
    exception: Value,
}

impl Forgotten {
    /// How many files are still there.
    pub(super) fn left(&self) -> usize {
        self.cdn_delete_results.iter().filter(|file| !file.exception.is_null()).count()
    }
}

/// A model's output: the fields in which media can be.
#[derive(Debug, Deserialize)]
pub(super) struct Output {
    #[serde(default, deserialize_with = "or_none")]
    images: Option<Vec<File>>,
    #[serde(default, deserialize_with = "or_none")]
    image: Option<File>,
    #[serde(default, deserialize_with = "or_none")]
    videos: Option<Vec<File>>,
    #[serde(default, deserialize_with = "or_none")]
    video: Option<File>,
    #[serde(default)]
    has_nsfw_concepts: Value,
}

/// A file of an output. Its size in pixels is not read: it can be null, and the bytes tell it.
#[derive(Debug, Deserialize)]
pub(super) struct File {
    pub(super) url: String,
    #[serde(default, deserialize_with = "or_none")]
    pub(super) content_type: Option<String>,
}

impl Output {
    /// The files, in order, each with whether it was blacked out by the content rules.
    pub(super) fn files(self) -> Vec<(File, bool)> {
        let flags = self.has_nsfw_concepts;
        let flagged = |index: usize| match &flags {
            Value::Bool(all) => *all,
            Value::Array(each) => each.get(index).and_then(Value::as_bool).unwrap_or(false),
            _ => false,
        };
        let many = self.images.into_iter().chain(self.videos).flatten();
        let all = many.chain(self.image).chain(self.video);
        all.enumerate().map(|(index, file)| (file, flagged(index))).collect()
    }
}

/// The body of an error: of the platform (`detail` is a text) or of a model (a list).
#[derive(Debug, Default, Deserialize)]
pub(super) struct ErrorBody {
    #[serde(default)]
    pub(super) detail: Detail,
    #[serde(default, deserialize_with = "or_none")]
    pub(super) error_type: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(untagged)]
pub(super) enum Detail {
    List(Vec<Problem>),
    Text(String),
    Other(serde::de::IgnoredAny),
    #[default]
    Missing,
}

/// One problem of a model with its input, or with itself.
#[derive(Debug, Deserialize)]
pub(super) struct Problem {
    #[serde(default)]
    pub(super) loc: Vec<Value>,
    #[serde(default, deserialize_with = "or_none")]
    pub(super) msg: Option<String>,
    #[serde(default, rename = "type", deserialize_with = "or_none")]
    pub(super) kind: Option<String>,
}

/// What a callback says of itself.
#[derive(Debug, Deserialize)]
pub(super) struct Report {
    pub(super) request_id: String,
    #[serde(default, deserialize_with = "or_none")]
    pub(super) gateway_request_id: Option<String>,
}

impl Report {
    /// Whether it is about this request.
    pub(super) fn names(&self, request_id: &str) -> bool {
        self.request_id == request_id || self.gateway_request_id.as_deref() == Some(request_id)
    }
}

/// The keys that callbacks are signed with.
#[derive(Debug, Deserialize)]
pub(super) struct KeySet {
    pub(super) keys: Vec<Key>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Key {
    /// An Ed25519 public key in URL-safe base64.
    #[serde(default, deserialize_with = "or_none")]
    pub(super) x: Option<String>,
}

/// A value of another type than expected counts as missing.
fn or_none<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Maybe<T> {
        Value(T),
        Other(serde::de::IgnoredAny),
    }
    Ok(match Maybe::deserialize(from)? {
        Maybe::Value(value) => Some(value),
        Maybe::Other(_) => None,
    })
}
