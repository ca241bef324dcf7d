//! What an error of the router, or of a provider behind it, means in the platform's words.
//!
//! Each provider has its own shape of an error; all of them are read, and the HTTP status decides.

use std::time::Duration;

use serde_json::Value;

use crate::providers::{
    Refusal,
    answer::{self, Answer, clean, input_refused},
};

/// What an answer says of itself.
struct Said {
    text: String,
    /// For how long a model is still being loaded.
    loading: Option<Duration>,
    /// Whether it is somebody's verdict: JSON with an error in it.
    verdict: bool,
}

fn said(answer: &Answer) -> Said {
    let body = answer.json::<Value>().filter(|body| body.is_object()).unwrap_or_default();
    let text = ["error", "detail", "message"].iter().find_map(|field| words(&body[*field]));
    let loading = body["estimated_time"].as_f64().and_then(answer::seconds);
    let verdict = text.is_some();
    let text = match text {
        Some(text) => text,
        None if answer.is_page() => "a page".to_owned(),
        None => answer.text(),
    };
    Said { text: clean(&text), loading, verdict }
}

/// A text, a list of texts, an object with a message, or a list of such: whichever it is.
fn words(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(all) => {
            let all: Vec<String> = all.iter().take(3).filter_map(words).collect();
            (!all.is_empty()).then(|| all.join("; "))
        }
        Value::Object(fields) => {
            let text = |name: &str| fields.get(name).and_then(Value::as_str);
            let message = text("message").or_else(|| text("msg")).or_else(|| text("detail"));
            match (message, text("type")) {
                // The type tells what the message may leave out, such as `content_policy_violation`.
                (Some(message), Some(kind)) => Some(format!("{message} ({kind})")),
                (Some(message), None) => Some(message.to_owned()),
                (None, kind) => kind.map(str::to_owned),
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

fn in_words(answer: &Answer, said: &Said) -> String {
    format!("answered with {} {}", answer.status, said.text).trim_end().to_owned()
}

/// A submit that was not answered with success.
pub(super) fn at_submit(answer: &Answer) -> Refusal {
    let said = said(answer);
    let words = in_words(answer, &said);
    match answer.status.as_u16() {
        400 if said.text.contains("not supported by provider") => Refusal::Unavailable(words),
        400 | 413 | 415 | 422 => input_refused(if said.verdict { &said.text } else { "" }),
        // The token, its permission, or the credits behind it.
        401..=403 => Refusal::Account(words),
        // The route is gone.
        404 | 410 => Refusal::Unavailable(words),
        429 => Refusal::Throttled { retry_after: answer.retry_after() },
        // The model is being loaded, and nothing was begun. A 503 that does not say so is no proof.
        503 if said.loading.is_some() => {
            Refusal::Throttled { retry_after: said.loading.max(answer.busy_for()) }
        }
        _ => answer.no_verdict(words),
    }
}

/// What an error means for a call that was accepted.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Lost {
    /// The look failed; the call may go on.
    LookAgain(Refusal),
    /// There is no such call.
    Gone(Refusal),
    /// It has ended with this.
    Failed(Refusal),
}

/// A look at a call that was not answered with success.
pub(super) fn at_look(answer: &Answer) -> Lost {
    let words = in_words(answer, &said(answer));
    match answer.status.as_u16() {
        401..=403 => Lost::LookAgain(Refusal::Account(words)),
        404 | 410 => Lost::Gone(Refusal::Unknown(words)),
        429 => Lost::LookAgain(Refusal::Throttled { retry_after: answer.retry_after() }),
        _ => Lost::LookAgain(answer.no_look(words)),
    }
}

/// The result of a completed call, not answered with success: a model's error comes this way.
pub(super) fn of_result(answer: &Answer) -> Lost {
    let said = said(answer);
    match answer.status.as_u16() {
        400 if said.text.contains("still in progress") => {
            Lost::LookAgain(Refusal::Unknown(in_words(answer, &said)))
        }
        400 | 413 | 415 | 422 => {
            Lost::Failed(input_refused(if said.verdict { &said.text } else { "" }))
        }
        500..=599 if said.verdict => Lost::Failed(Refusal::Unknown(in_words(answer, &said))),
        _ => at_look(answer),
    }
}

/// A call that has failed, in the provider's words.
pub(super) fn of_failure(error: &Value) -> Refusal {
    let text = clean(&words(error).unwrap_or_default());
    if answer::speaks_of_content(&text) {
        return Refusal::Moderated;
    }
    Refusal::Unknown(format!("it failed: {text}").trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, StatusCode};
    use serde_json::json;

    use super::*;
    use crate::providers::conformance::Kind;

    fn answer(status: u16, body: &str) -> Answer {
        let status = StatusCode::from_u16(status).unwrap();
        Answer { status, headers: HeaderMap::new(), body: body.to_owned().into() }
    }

    #[test]
    fn every_shape_of_an_error_is_read() {
        for body in [
            json!({"error": "too wide"}),
            json!({"error": ["too wide"]}),
            json!({"error": {"message": "too wide", "type": "invalid"}}),
            json!({"detail": "too wide"}),
            json!({"detail": [{"loc": ["body", "width"], "msg": "too wide", "type": "less_than"}]}),
            json!({"message": "too wide"}),
        ] {
            match at_submit(&answer(422, &body.to_string())) {
                Refusal::Rejected(text) => assert!(text.contains("too wide"), "{text}"),
                other => panic!("{body}: {other:?}"),
            }
        }
        let typed = json!({"detail": [{"msg": "no", "type": "content_policy_violation"}]});
        assert_eq!(at_submit(&answer(422, &typed.to_string())), Refusal::Moderated);
        match at_submit(&answer(400, "<html><script>alert(1)</script>")) {
            Refusal::Rejected(text) => assert!(!text.contains("script"), "{text}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_status_decides_at_submit() {
        let unsupported = r#"{"error":"Model not supported by provider fal-ai"}"#;
        let loading = r#"{"error":"Model X is currently loading","estimated_time":20.0}"#;
        let page = "<!DOCTYPE html><title>502</title>";
        for (status, body, kind) in [
            (400, unsupported, Kind::Unavailable),
            (401, r#"{"error":"Invalid username or password."}"#, Kind::Account),
            (402, r#"{"error":"You have depleted your monthly included credits."}"#, Kind::Account),
            (402, page, Kind::Account),
            (403, "", Kind::Account),
            (404, "Not Found", Kind::Unavailable),
            (410, r#"{"error":"The requested model is deprecated"}"#, Kind::Unavailable),
            (429, "", Kind::Throttled),
            (503, loading, Kind::Throttled),
            (503, r#"{"error":"overloaded"}"#, Kind::Unknown),
            (503, page, Kind::Unknown),
            (500, page, Kind::Unknown),
            (504, "", Kind::Unknown),
            (302, "", Kind::Unknown),
            (408, "", Kind::Unknown),
        ] {
            let refusal = at_submit(&answer(status, body));
            assert_eq!(Kind::from(&refusal), kind, "{status} {body}: {refusal:?}");
        }
        assert_eq!(
            at_submit(&answer(503, loading)),
            Refusal::Throttled { retry_after: Some(Duration::from_secs(20)) }
        );
    }

    #[test]
    fn a_result_that_is_an_error_is_no_result() {
        let of = |status, body: &str| of_result(&answer(status, body));
        assert!(matches!(of(422, r#"{"detail":"bad"}"#), Lost::Failed(Refusal::Rejected(_))));
        assert_eq!(of(422, r#"{"detail":"NSFW content"}"#), Lost::Failed(Refusal::Moderated));
        assert!(matches!(of(500, r#"{"detail":"boom"}"#), Lost::Failed(Refusal::Unknown(_))));
        assert!(matches!(of(502, "<html>"), Lost::LookAgain(Refusal::Unknown(_))));
        assert!(matches!(of(404, ""), Lost::Gone(_)));
        assert!(matches!(of(402, ""), Lost::LookAgain(Refusal::Account(_))));
        let early = r#"{"detail":"Request is still in progress"}"#;
        assert!(matches!(of(400, early), Lost::LookAgain(_)));
        assert_eq!(of_failure(&json!("flagged by moderation")), Refusal::Moderated);
        assert!(matches!(of_failure(&json!(null)), Refusal::Unknown(_)));
    }
}
