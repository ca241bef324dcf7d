//! What an error of kie.ai means in the platform's words.
//!
//! An answer is good if the HTTP status is 2xx and the envelope's `code` is 200. The code is the
//! service's own verdict, so it counts wherever there is one; without one the HTTP status counts,
//! and then only those that say surely that nothing was accepted.

use serde_json::Value;

use super::wire::{Envelope, Record};
use crate::providers::{
    Refusal,
    answer::{Answer, clean, input_refused, speaks_of_content},
};

/// What an answer comes to.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    /// `data` of a good answer.
    Good(Value),
    /// The service says no with this code, in these words.
    Code(i64, String),
    /// Something else answered: a gateway, or a page.
    Status(u16, String),
}

pub(super) fn verdict(answer: &Answer) -> Verdict {
    let status = answer.status;
    let envelope = answer.json::<Envelope>();
    let code = envelope.as_ref().and_then(|envelope| envelope.code);
    #[expect(clippy::cast_possible_truncation, reason = "a float cast saturates")]
    let code = code.map(|code| code as i64);
    match (code, envelope) {
        (Some(200), Some(envelope)) if status.is_success() => Verdict::Good(envelope.data),
        (Some(code), Some(envelope)) if code != 200 => Verdict::Code(code, clean(envelope.words())),
        _ if answer.is_page() => Verdict::Status(status.as_u16(), "a page".to_owned()),
        _ => Verdict::Status(status.as_u16(), clean(&answer.text())),
    }
}

/// A submit that brought no task.
pub(super) fn at_submit(answer: &Answer, verdict: &Verdict) -> Refusal {
    match verdict {
        // Accepted, it seems, but nobody knows under which id.
        Verdict::Good(_) => Refusal::Unknown("it was accepted without a task id".to_owned()),
        Verdict::Code(code, text) => {
            let words = format!("code {code} {text}").trim_end().to_owned();
            match code {
                400 | 422 | 451 => input_refused(text),
                // Of a model or a route that is not there; the catalogue is at fault.
                401..=404 | 433 => Refusal::Account(words),
                429 => Refusal::Throttled { retry_after: answer.retry_after() },
                // Maintenance, an error before anything was made, a feature that is switched off:
                // each is said instead of a task. Another route may do.
                455 | 500 | 505 => Refusal::Unavailable(words),
                // 408 and 501 speak of work that had begun.
                _ => answer.no_verdict(words),
            }
        }
        Verdict::Status(status, text) => {
            let words = format!("answered with {status} {text}").trim_end().to_owned();
            match status {
                400 | 413 | 422 => input_refused(""),
                // 403 with `error code: 1010` comes from the gateway in front of the service.
                401..=404 | 433 => Refusal::Account(words),
                429 => Refusal::Throttled { retry_after: answer.retry_after() },
                455 => Refusal::Unavailable(words),
                _ => answer.no_verdict(words),
            }
        }
    }
}

/// A look that showed no task.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoTask {
    /// The look failed; the task may go on.
    LookAgain(Refusal),
    /// There is no such task.
    Unknown(String),
    /// It has ended without a result.
    Failed(Refusal),
}

pub(super) fn at_look(answer: &Answer, verdict: &Verdict) -> NoTask {
    let again = |words: String| NoTask::LookAgain(answer.no_look(words));
    match verdict {
        Verdict::Good(_) => again("no task was shown".to_owned()),
        Verdict::Code(code, text) => {
            let words = format!("code {code} {text}").trim_end().to_owned();
            match code {
                401..=403 | 433 => NoTask::LookAgain(Refusal::Account(words)),
                404 | 422 => NoTask::Unknown(words),
                429 => NoTask::LookAgain(Refusal::Throttled { retry_after: answer.retry_after() }),
                501 | 505 => NoTask::Failed(Refusal::Unknown(words)),
                // 408: nothing was heard of it for ten minutes; its deadline ends the wait.
                _ => again(words),
            }
        }
        Verdict::Status(status, text) => {
            let words = format!("answered with {status} {text}").trim_end().to_owned();
            match status {
                401..=403 | 433 => NoTask::LookAgain(Refusal::Account(words)),
                404 => NoTask::Unknown(words),
                429 => NoTask::LookAgain(Refusal::Throttled { retry_after: answer.retry_after() }),
                _ => again(words),
            }
        }
    }
}

/// Why a task failed. `failCode` is about the task, with the meanings of the other codes.
pub(super) fn of_task(record: &Record) -> Refusal {
    let text = clean(record.fail_msg.as_deref().unwrap_or_default());
    if speaks_of_content(&text) {
        return Refusal::Moderated;
    }
    #[expect(clippy::cast_possible_truncation, reason = "a float cast saturates")]
    let code = record.fail_code.map_or(0, |code| code as i64);
    match code {
        400 | 422 | 451 => input_refused(&text),
        _ => Refusal::Unknown(format!("it failed: {code} {text}").trim_end().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, StatusCode};
    use serde_json::json;

    use super::*;
    use crate::providers::conformance::Kind;

    fn answer(status: u16, body: &str) -> Answer {
        let mut headers = HeaderMap::new();
        headers.insert("retry-after", "7".parse().unwrap());
        let status = StatusCode::from_u16(status).unwrap();
        Answer { status, headers, body: body.to_owned().into() }
    }

    fn submitted(status: u16, body: &str) -> Kind {
        let answer = answer(status, body);
        let refusal = at_submit(&answer, &verdict(&answer));
        if let Refusal::Throttled { retry_after } = refusal {
            assert_eq!(retry_after, Some(std::time::Duration::from_secs(7)));
        }
        Kind::from(&refusal)
    }

    #[test]
    fn every_code_has_a_meaning_at_submit() {
        for (code, kind) in [
            (200, Kind::Unknown),
            (400, Kind::Rejected),
            (401, Kind::Account),
            (402, Kind::Account),
            (404, Kind::Account),
            (408, Kind::Unknown),
            (422, Kind::Rejected),
            (429, Kind::Throttled),
            (433, Kind::Account),
            (451, Kind::Rejected),
            (455, Kind::Unavailable),
            (500, Kind::Unavailable),
            (501, Kind::Unknown),
            (505, Kind::Unavailable),
            (531, Kind::Unknown),
        ] {
            for (status, word) in [(200, "msg"), (200, "message"), (500, "msg")] {
                // A gateway's error with a good envelope in it is no verdict either.
                let body = json!({"code": code, word: "no", "data": null}).to_string();
                assert_eq!(submitted(status, &body), kind, "{status} {body}");
            }
        }
        let refused = json!({"code": 400, "msg": "Your prompt violates our content policy"});
        assert_eq!(submitted(200, &refused.to_string()), Kind::Moderated);
    }

    #[test]
    fn without_a_code_the_status_counts() {
        let page = "<html><body>Bad gateway</body></html>";
        for (status, kind) in [
            (200, Kind::Unknown),
            (302, Kind::Unknown),
            (400, Kind::Rejected),
            (403, Kind::Account),
            (408, Kind::Unknown),
            (429, Kind::Throttled),
            (455, Kind::Unavailable),
            (500, Kind::Unknown),
            (502, Kind::Unknown),
            (524, Kind::Unknown),
        ] {
            assert_eq!(submitted(status, page), kind, "{status}");
            assert_eq!(submitted(status, ""), kind, "{status}");
        }
        let blocked = answer(403, "error code: 1010");
        match at_submit(&blocked, &verdict(&blocked)) {
            Refusal::Account(words) => assert!(words.contains("error code: 1010"), "{words}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_look_that_fails_ends_no_task() {
        let looked = |status, body: &str| {
            let answer = answer(status, body);
            at_look(&answer, &verdict(&answer))
        };
        let code = |code: i64| looked(200, &json!({"code": code, "msg": "m"}).to_string());
        for again in [401, 402, 408, 429, 433, 455, 500] {
            assert!(matches!(code(again), NoTask::LookAgain(_)), "{again}");
        }
        for gone in [404, 422] {
            assert!(matches!(code(gone), NoTask::Unknown(_)), "{gone}");
        }
        assert!(matches!(code(501), NoTask::Failed(Refusal::Unknown(_))));
        assert!(matches!(looked(502, "<html>"), NoTask::LookAgain(Refusal::Unknown(_))));
        assert!(matches!(looked(403, "error code: 1010"), NoTask::LookAgain(Refusal::Account(_))));
    }

    #[test]
    fn a_failed_task_says_why() {
        let failed = |code: Value, text: Value| {
            let record = json!({"state": "fail", "failCode": code, "failMsg": text});
            of_task(&serde_json::from_value(record).unwrap())
        };
        assert_eq!(
            failed(json!("500"), json!("Internal")),
            Refusal::Unknown("it failed: 500 Internal".into())
        );
        assert_eq!(
            failed(json!(422), json!("image too large")),
            Refusal::Rejected("image too large".into())
        );
        assert_eq!(failed(json!("400"), json!("flagged as sensitive")), Refusal::Moderated);
        assert_eq!(failed(json!("501"), json!("NSFW")), Refusal::Moderated);
        assert!(matches!(failed(json!(null), json!("")), Refusal::Unknown(_)));
    }
}
