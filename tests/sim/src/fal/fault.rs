//! What can go wrong at fal.ai.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A fault; each concerns one step of a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The submit.
    Submit(SubmitFault),
    /// How the request runs and ends.
    Run(RunFault),
    /// Its callbacks.
    Callback(CallbackFault),
    /// Looks at its status are answered like this.
    Look(Failure),
    /// Its media are answered like this.
    Media(MediaFault),
}

/// An error as it goes over the wire.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// The HTTP status.
    pub status: u16,
    /// Headers, by name.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// JSON; a text stands for itself.
    pub body: Value,
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
    /// It is accepted, and the answer cannot be read.
    Garbage,
    /// It is accepted, and the links lead to this address.
    Links(String),
    /// It is accepted, and the answer has ids but no links.
    NoLinks,
    /// It is accepted, and the links are those of an older documentation.
    OldLinks,
}

/// What is wrong with a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunFault {
    /// It ends with this error; the status tells.
    Fail(Failure),
    /// It ends with this error; the status does not tell.
    FailSilently(Failure),
    /// It never ends.
    Stall,
    /// It never starts.
    Queue,
    /// It takes so many milliseconds.
    Slow(u64),
    /// Its pictures are black and flagged.
    Black,
    /// Its result is gone as soon as it is there.
    Gone,
    /// Sizes are null, the seed is larger than any float can hold, and the flags are null.
    Odd,
    /// The result is this.
    Output(Value),
    /// It cannot be canceled while it runs.
    IgnoreCancel,
}

/// What is wrong with callbacks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallbackFault {
    /// None comes.
    Missing,
    /// It comes twice.
    Twice,
    /// It comes so many milliseconds late.
    Late(u64),
    /// It is signed by somebody else.
    Forged,
    /// It is signed, for another account.
    OtherAccount,
    /// It is signed, and its time is an hour ago.
    Old,
    /// It is signed, and has an error instead of the output.
    PayloadError,
    /// It is signed, and names another request.
    OtherRequest,
}

/// What is wrong with media.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MediaFault {
    /// It is not there.
    Gone,
    /// It breaks off.
    Torn,
    /// It is something else.
    Garbage,
    /// It is at this address.
    Elsewhere(String),
    /// It redirects to this address.
    Redirect(String),
    /// Its place is busy: 503 with this `Retry-After`.
    Busy(String),
}

impl Failure {
    /// A platform's error: `detail` is a text.
    #[must_use]
    pub fn text(status: u16, detail: &str) -> Self {
        Self { status, headers: Vec::new(), body: serde_json::json!({"detail": detail}) }
    }

    /// A model's error: `detail` is a list.
    #[must_use]
    pub fn list(status: u16, kind: &str, message: &str) -> Self {
        let problem = serde_json::json!({
            "loc": ["body", "prompt"], "msg": message, "type": kind,
            "url": format!("https://docs.fal.ai/errors#{kind}"), "input": "…",
        });
        Self { status, headers: Vec::new(), body: serde_json::json!({"detail": [problem]}) }
            .with("x-fal-retryable", "false")
    }

    /// Our own deadline for the start has passed.
    #[must_use]
    pub fn start_deadline() -> Self {
        Self::typed(504, "request_timeout").with("x-fal-request-timeout-type", "user")
    }

    /// A platform's error with a type.
    #[must_use]
    pub fn typed(status: u16, kind: &str) -> Self {
        let body = serde_json::json!({"detail": kind.replace('_', " "), "error_type": kind});
        Self { status, headers: Vec::new(), body }.with("x-fal-error-type", kind)
    }

    /// Too many at once.
    #[must_use]
    pub fn throttled() -> Self {
        Self::typed(429, "concurrent_requests_limit").with("x-fal-needs-retry", "1")
    }

    /// No balance.
    #[must_use]
    pub fn locked() -> Self {
        Self::text(
            403,
            "User is locked. Reason: Exhausted balance. Top up your balance at fal.ai/dashboard/billing.",
        )
    }

    /// With one more header.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}
