//! What can go wrong at kie.ai.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A fault; each concerns one step of a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Creating it.
    Create(CreateFault),
    /// How it runs and ends.
    Run(RunFault),
    /// Its callback.
    Callback(CallbackFault),
    /// Looks at it are answered like this.
    Look(Refusal),
    /// How its `resultJson` is written while it has none.
    EmptyResult(Value),
    /// Its media.
    Media(MediaFault),
    /// A file for an input is not taken; it has no words, so that the rule has to be for all.
    Upload(Refusal),
}

/// What is wrong with creating a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CreateFault {
    /// It is accepted, and nobody hears of it.
    LoseAnswer,
    /// It is accepted, and the answer comes so many milliseconds later.
    Late(u64),
    /// It is not accepted.
    Refuse(Refusal),
    /// It is accepted, and a gateway answers with a page and this status.
    Page(u16),
    /// It is accepted, and the answer has no id.
    NoId,
}

/// An error as it goes over the wire.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Refusal {
    /// The HTTP status; often 200.
    pub status: u16,
    /// The code in the envelope.
    pub code: i64,
    /// The words.
    pub text: String,
    /// Whether the words are called `message` instead of `msg`.
    #[serde(default)]
    pub message: bool,
    /// `Retry-After`, in seconds.
    #[serde(default)]
    pub retry_after: Option<u64>,
}

impl Refusal {
    /// With HTTP status 200.
    #[must_use]
    pub fn inside_200(code: i64, text: &str) -> Self {
        Self { status: 200, code, text: text.to_owned(), message: false, retry_after: None }
    }

    /// With this HTTP status.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// With this `Retry-After`.
    #[must_use]
    pub fn with_retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// In the other spelling.
    #[must_use]
    pub fn as_message(mut self) -> Self {
        self.message = true;
        self
    }

    pub(super) fn body(&self) -> Value {
        let word = if self.message { "message" } else { "msg" };
        json!({"code": self.code, word: self.text, "data": null})
    }
}

/// What is wrong with a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunFault {
    /// It ends with this `failCode` and `failMsg`.
    Fail(String, String),
    /// It is generating for ever.
    Stall,
    /// It takes so many milliseconds.
    Slow(u64),
    /// It succeeds without a result.
    NoResult,
}

/// What is wrong with a callback.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallbackFault {
    /// None comes.
    Missing,
    /// It comes twice.
    Twice,
    /// It comes so many milliseconds late.
    Late(u64),
    /// It comes at once, with a good signature, and its body tells of media at this address.
    Lie(String),
    /// Its id is `data.task_id`.
    SnakeCase,
    /// Its id is `taskId`, outside of `data`.
    TopLevel,
    /// It names this task.
    OtherTask(String),
    /// Its signature is wrong.
    Forged,
}

/// What is wrong with media.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MediaFault {
    /// It is not there.
    Gone,
    /// It is something else.
    Garbage,
    /// It is at this address.
    Elsewhere(String),
}
