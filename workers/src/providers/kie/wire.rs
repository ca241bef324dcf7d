//! What kie.ai says, as types. Nothing here decides anything.
//!
//! Its pages disagree in places (`msg` and `message`, numbers and texts of numbers), so that
//! whatever may be missing, null or of another type may be that.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::providers::answer::or_none;

/// What every answer is wrapped in.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Envelope {
    /// 200 is success, whatever the HTTP status.
    #[serde(default, deserialize_with = "number")]
    pub(super) code: Option<f64>,
    #[serde(default, deserialize_with = "or_none")]
    msg: Option<String>,
    #[serde(default, deserialize_with = "or_none")]
    message: Option<String>,
    #[serde(default)]
    pub(super) data: Value,
}

impl Envelope {
    pub(super) fn words(&self) -> &str {
        self.msg.as_deref().or(self.message.as_deref()).unwrap_or_default()
    }
}

/// The answer to a submit.
#[derive(Debug, Deserialize)]
pub(super) struct Created {
    #[serde(rename = "taskId", alias = "task_id")]
    pub(super) task_id: String,
}

/// A task, as a look shows it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Record {
    #[serde(default, alias = "task_id", deserialize_with = "or_none")]
    pub(super) task_id: Option<String>,
    #[serde(default, deserialize_with = "or_none")]
    pub(super) state: Option<State>,
    /// The request, as a text of JSON.
    #[serde(default)]
    param: Value,
    /// The result, as a text of JSON; empty or null before there is one.
    #[serde(default)]
    result_json: Value,
    #[serde(default, deserialize_with = "number")]
    pub(super) fail_code: Option<f64>,
    #[serde(default, deserialize_with = "or_none")]
    pub(super) fail_msg: Option<String>,
    #[serde(default, deserialize_with = "number")]
    progress: Option<f64>,
    #[serde(default, alias = "consumeCredits", deserialize_with = "number")]
    pub(super) credits_consumed: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    Waiting,
    Queuing,
    Generating,
    Success,
    Fail,
    #[serde(other)]
    Other,
}

impl Record {
    /// The address that the request asked to be reported to.
    pub(super) fn callback_url(&self) -> Option<String> {
        let request = json_in(&self.param)?;
        Some(request.get("callBackUrl")?.as_str()?.to_owned())
    }

    /// The places of the media, in order.
    pub(super) fn result_urls(&self) -> Vec<String> {
        let result = json_in(&self.result_json).unwrap_or_default();
        let urls = result.get("resultUrls").and_then(Value::as_array);
        urls.into_iter().flatten().filter_map(|url| Some(url.as_str()?.to_owned())).collect()
    }

    /// 0 to 1; some models count to 100.
    pub(super) fn progress(&self) -> Option<f64> {
        let progress = self.progress.filter(|number| number.is_finite() && *number >= 0.0)?;
        Some(if progress > 1.0 { (progress / 100.0).min(1.0) } else { progress })
    }
}

/// The id that a callback names, in any of the spellings that the pages show.
pub(super) fn reported_id(body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let data = &body["data"];
    [&data["taskId"], &data["task_id"], &body["taskId"], &body["task_id"]]
        .into_iter()
        .find_map(|id| Some(id.as_str()?.to_owned()))
}

/// JSON, or a text of JSON.
fn json_in(value: &Value) -> Option<Value> {
    match value {
        Value::String(text) => serde_json::from_str(text).ok(),
        Value::Object(_) => Some(value.clone()),
        _ => None,
    }
}

/// A number, or a text of one.
fn number<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
    Ok(match Value::deserialize(from)? {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn record(value: Value) -> Record {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_result_is_read_however_it_is_wrapped() {
        let urls = |value| record(json!({"resultJson": value})).result_urls();
        let two = ["https://a/1.png", "https://a/2.png"];
        assert_eq!(urls(json!(json!({"resultUrls": two}).to_string())), two);
        assert_eq!(urls(json!({"resultUrls": two})), two);
        for nothing in [json!(""), json!(null), json!("{}"), json!(7), json!("[]"), json!("{\"")] {
            assert!(urls(nothing.clone()).is_empty(), "{nothing}");
        }
        assert!(record(json!({})).result_urls().is_empty());
    }

    #[test]
    fn strange_fields_spoil_nothing() {
        let strange = record(json!({
            "taskId": 7, "state": "dreaming", "failCode": "422", "failMsg": 3,
            "progress": "50", "creditsConsumed": null,
        }));
        assert_eq!(strange.state, Some(State::Other));
        assert_eq!((strange.fail_code, strange.fail_msg.as_deref()), (Some(422.0), None));
        assert_eq!(strange.progress(), Some(0.5));
        assert_eq!(record(json!({"progress": 0.25})).progress(), Some(0.25));
        assert_eq!(record(json!({"progress": 1e9})).progress(), Some(1.0));
        assert_eq!(record(json!({"progress": -1})).progress(), None);
        let envelope: Envelope =
            serde_json::from_value(json!({"code": "433", "message": "m"})).unwrap();
        assert_eq!((envelope.code, envelope.words()), (Some(433.0), "m"));
    }

    #[test]
    fn a_callback_names_its_task_in_three_spellings() {
        let id = |body: Value| reported_id(body.to_string().as_bytes());
        for body in [
            json!({"data": {"taskId": "t"}}),
            json!({"data": {"task_id": "t"}}),
            json!({"taskId": "t", "data": null}),
            json!({"data": {"taskId": "t"}, "taskId": "u"}),
        ] {
            assert_eq!(id(body).as_deref(), Some("t"));
        }
        assert_eq!(id(json!({"data": {"taskId": 5}})), None);
        assert_eq!(reported_id(b"\xff"), None);
        assert_eq!(reported_id(b"[]"), None);
    }
}
