//! What can go wrong at Hugging Face and the providers behind it.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A fault; each concerns one step of a call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The submit.
    Submit(SubmitFault),
    /// How the call runs and ends.
    Run(RunFault),
    /// Looks at its status are answered like this.
    Look(Failure),
    /// Its result, once it is completed, is answered like this.
    Result(Failure),
    /// Its media.
    Media(MediaFault),
}

/// An error as it goes over the wire.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// The HTTP status.
    pub status: u16,
    /// JSON; a text stands for itself, as a page.
    pub body: Value,
    /// `Retry-After`.
    #[serde(default)]
    pub retry_after: Option<u64>,
}

impl Failure {
    /// `{"error": …}`.
    #[must_use]
    pub fn error(status: u16, text: &str) -> Self {
        Self::json(status, json!({"error": text}))
    }

    /// This body.
    #[must_use]
    pub fn json(status: u16, body: Value) -> Self {
        Self { status, body, retry_after: None }
    }

    /// A page for people.
    #[must_use]
    pub fn page(status: u16) -> Self {
        let page = format!("<!DOCTYPE html><html><title>{status}</title><body>nginx</body></html>");
        Self::json(status, json!(page))
    }

    /// No credits left.
    #[must_use]
    pub fn depleted() -> Self {
        Self::error(
            402,
            "You have depleted your monthly included credits. Purchase pre-paid credits to continue using Inference Providers.",
        )
    }

    /// The route is gone.
    #[must_use]
    pub fn gone() -> Self {
        Self::error(
            410,
            "The requested model is deprecated and no longer supported by provider hf-inference.",
        )
    }

    /// The model is being loaded.
    #[must_use]
    pub fn loading(seconds: f64) -> Self {
        let error = "Model a/b is currently loading";
        Self::json(503, json!({"error": error, "estimated_time": seconds}))
    }

    /// Too many calls.
    #[must_use]
    pub fn throttled(seconds: u64) -> Self {
        Self { retry_after: Some(seconds), ..Self::error(429, "Too many requests") }
    }
}

/// What is wrong with a submit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubmitFault {
    /// It is accepted, and nobody hears of it.
    LoseAnswer,
    /// It is accepted, and the answer comes so many milliseconds later.
    Late(u64),
    /// It is not accepted.
    Refuse(Failure),
    /// It is accepted, and a page comes with this status.
    Page(u16),
    /// hf-inference: the picture comes as `{"data": [{"b64_json"}]}`.
    Base64,
    /// hf-inference: the picture comes as `{"output": [url]}`.
    Output,
}

/// What is wrong with a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunFault {
    /// It fails with these words.
    Fail(String),
    /// It never ends.
    Stall,
    /// It takes so many milliseconds.
    Slow(u64),
    /// fal.ai: its pictures are black and flagged.
    Black,
}

/// What is wrong with media.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MediaFault {
    /// It is not there, so many times.
    Gone,
    /// It is at this address.
    Elsewhere(String),
}
