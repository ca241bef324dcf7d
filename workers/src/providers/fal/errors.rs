//! What an error of fal.ai means in the platform's words.
//!
//! A submit is surely not accepted when it is answered with 4xx; 5xx and anything strange is no
//! verdict. A request that was accepted fails by what its result says.

use std::time::Duration;

use bytes::Bytes;
use config::net;
use http::{HeaderMap, StatusCode};

use super::wire::{Detail, ErrorBody, Problem};
use crate::providers::{
    Refusal,
    answer::{no_look, no_verdict},
};

/// The most of a text of theirs that is repeated.
const WORDS: usize = 300;

/// An answer, read to its end.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// How a request that has ended without a result ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    Failed(Refusal),
    Canceled,
    /// The look failed, not the request.
    LookAgain(Refusal),
}

impl Answer {
    pub(super) fn error(&self) -> ErrorBody {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The result was asked for too early.
    pub(super) fn still_running(&self) -> bool {
        self.status == StatusCode::BAD_REQUEST
            && matches!(self.error().detail, Detail::Text(text) if text.contains("still in progress"))
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// `X-Fal-Error-Type`, or the same in the body.
    fn error_type(&self, body: &ErrorBody) -> Option<String> {
        self.header("x-fal-error-type").map(str::to_owned).or_else(|| body.error_type.clone())
    }

    /// Our own deadline for the start has passed.
    fn start_deadline_passed(&self) -> bool {
        self.status == StatusCode::GATEWAY_TIMEOUT
            && self.header("x-fal-request-timeout-type") == Some("user")
    }

    fn throttled(&self) -> Refusal {
        Refusal::Throttled { retry_after: self.busy_for() }
    }

    fn busy_for(&self) -> Option<Duration> {
        net::busy_for(self.status, &self.headers)
    }

    /// For the log: the status, and what is said in words.
    fn words(&self, body: &ErrorBody) -> String {
        let kind = self.error_type(body).unwrap_or_default();
        let text = match &body.detail {
            Detail::Text(text) => clean(text),
            Detail::List(problems) => sentences(problems),
            Detail::Other(_) | Detail::Missing => String::new(),
        };
        format!("answered with {} {kind} {text}", self.status).trim_end().to_owned()
    }
}

/// A submit that was not answered with success.
pub(super) fn at_submit(answer: &Answer) -> Refusal {
    let body = answer.error();
    let words = answer.words(&body);
    match answer.status.as_u16() {
        401..=403 => Refusal::Account(words),
        // No such endpoint: the catalogue is at fault, not the user.
        404 | 405 => Refusal::Account(words),
        429 => answer.throttled(),
        400 | 413 | 415 | 422 => input_error(&body, &words),
        // 408, 409 and 499 may come after it was accepted; so may any 5xx.
        _ => no_verdict(answer.busy_for(), words),
    }
}

/// A look or a cancel that was not answered as expected: it says nothing about the request.
pub(super) fn at_look(answer: &Answer) -> Refusal {
    let words = answer.words(&answer.error());
    match answer.status.as_u16() {
        401..=403 => Refusal::Account(words),
        429 => answer.throttled(),
        _ => no_look(answer.busy_for(), words),
    }
}

/// A result that is an error. `failed`: the status said already that the request has failed.
pub(super) fn of_result(answer: &Answer, failed: bool) -> End {
    let body = answer.error();
    let words = answer.words(&body);
    let kind = answer.error_type(&body);
    if matches!(kind.as_deref(), Some("client_cancelled" | "client_canceled")) {
        return End::Canceled;
    }
    if answer.start_deadline_passed() {
        return End::Failed(Refusal::Unavailable("it did not start in time".to_owned()));
    }
    match answer.status.as_u16() {
        499 => End::Canceled,
        // These speak about us, unless the request itself has failed with them.
        401..=403 | 429 if !failed => End::LookAgain(at_look(answer)),
        404 | 410 => End::Failed(Refusal::Unknown("the result is gone".to_owned())),
        400 | 413 | 415 | 422 => End::Failed(input_error(&body, &words)),
        // A model's error is relayed with its body; a gateway's own has none of ours in it.
        500..=599 => {
            let theirs = kind.is_some() || matches!(body.detail, Detail::List(_) | Detail::Text(_));
            if failed || theirs {
                End::Failed(Refusal::Unknown(words))
            } else {
                End::LookAgain(no_look(answer.busy_for(), words))
            }
        }
        _ if failed => End::Failed(Refusal::Unknown(words)),
        _ => End::LookAgain(Refusal::Unknown(words)),
    }
}

/// What the status alone says of a failed request.
pub(super) fn of_status(error: &serde_json::Value, error_type: Option<&str>) -> End {
    let text = error.as_str().map(clean).unwrap_or_default();
    match error_type {
        Some("client_cancelled" | "client_canceled") => End::Canceled,
        Some("content_policy_violation") => End::Failed(Refusal::Moderated),
        kind => {
            let kind = kind.unwrap_or_default();
            End::Failed(Refusal::Unknown(format!("it failed: {kind} {text}")))
        }
    }
}

/// The model or the platform did not like the input.
fn input_error(body: &ErrorBody, words: &str) -> Refusal {
    let problems = match &body.detail {
        Detail::List(problems) if !problems.is_empty() => problems,
        Detail::Text(text) if speaks_of_content(text) => return Refusal::Moderated,
        Detail::Text(text) if !text.trim().is_empty() => return Refusal::Rejected(clean(text)),
        Detail::List(_) | Detail::Text(_) | Detail::Other(_) | Detail::Missing => {
            return Refusal::Rejected("The provider did not accept this input.".to_owned());
        }
    };
    let kinds = || problems.iter().filter_map(|problem| problem.kind.as_deref());
    if kinds().any(|kind| kind == "content_policy_violation") {
        return Refusal::Moderated;
    }
    // These say nothing about the input, whatever status they come with.
    let faults = [
        "no_media_generated",
        "downstream_service_error",
        "downstream_service_unavailable",
        "internal_server_error",
        "generation_timeout",
    ];
    if kinds().any(|kind| faults.contains(&kind)) {
        return Refusal::Unknown(words.to_owned());
    }
    Refusal::Rejected(sentences(problems))
}

/// Errors that have not been given types yet.
fn speaks_of_content(text: &str) -> bool {
    let text = text.to_lowercase();
    ["content policy", "content_policy", "nsfw", "safety checker", "moderation"]
        .iter()
        .any(|word| text.contains(word))
}

/// The first few problems in words: the field, and what is wrong with it.
fn sentences(problems: &[Problem]) -> String {
    let one = |problem: &Problem| {
        let field =
            problem.loc.iter().rev().find_map(|part| part.as_str()).filter(|f| *f != "body");
        let text = problem.msg.as_deref().or(problem.kind.as_deref()).unwrap_or("is not accepted");
        match field {
            Some(field) => format!("{}: {}", clean(field), clean(text)),
            None => clean(text),
        }
    };
    let all: Vec<String> = problems.iter().take(3).map(one).collect();
    all.join("; ")
}

fn clean(text: &str) -> String {
    let text: String = text.chars().filter(|c| !c.is_control()).take(WORDS).collect();
    text.trim().to_owned()
}
