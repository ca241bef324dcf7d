//! What a client sends to make a job, or to learn its price. Every fault is listed at once.

use std::time::Duration;

use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::{
    json::{canonical_hash, escape, unknown_fields},
    problem::{FieldError, Problem},
};

/// The most pairs of metadata.
const METADATA_PAIRS: usize = 16;
/// The longest name of a pair, in characters.
const METADATA_NAME: usize = 64;
/// The longest value of a pair, in characters.
const METADATA_VALUE: usize = 512;
/// The shortest time that content may be kept.
const SHORTEST: Duration = Duration::from_secs(60);
/// The longest time that somebody may ask for, unless content is kept for less anyway.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// A request for a job, well formed; the input is not checked against its model yet.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct JobRequest {
    pub(crate) model: String,
    pub(crate) input: Value,
    pub(crate) max_credits: Option<i64>,
    pub(crate) metadata: Value,
    pub(crate) expires_in: Option<Duration>,
    /// Of the whole request, for idempotency.
    pub(crate) hash: [u8; 32],
}

/// The same, for the description of the API.
#[derive(ToSchema)]
#[schema(as = JobRequest, example = json!({
    "model": "demo/sketch", "input": {"prompt": "a red fox in the snow"},
}))]
#[expect(dead_code, reason = "it is only described; JobRequest::read reads it")]
pub(crate) struct JobRequestSchema {
    /// `owner/name`
    model: String,
    /// As the model's `input_schema` says.
    #[schema(value_type = Object)]
    input: Value,
    /// Refuse if the price is above this.
    #[schema(minimum = 1)]
    max_credits: Option<i64>,
    /// Up to 16 pairs of your own.
    #[schema(value_type = Object)]
    metadata: Option<Value>,
    /// Seconds until the content is deleted: 30 days at most, and never more than the installation
    /// keeps content without it (`retention.content_days`; the privacy policy names that time).
    #[schema(minimum = 60, maximum = 2_592_000)]
    expires_in: Option<u64>,
}

impl JobRequest {
    /// Reads it where content is `kept` for so long.
    pub(crate) fn read(body: Value, kept: Duration) -> Result<Self, Problem> {
        let hash = canonical_hash(&body);
        let Value::Object(mut fields) = body else {
            return Err(Problem::invalid(vec![FieldError::new("", "must be an object")]));
        };
        let mut faults = Vec::new();
        let model = match fields.remove("model") {
            Some(Value::String(model)) => model,
            other => {
                faults.push(wrong("/model", other.as_ref(), "a string"));
                String::new()
            }
        };
        let input = match fields.remove("input") {
            Some(input @ Value::Object(_)) => input,
            other => {
                faults.push(wrong("/input", other.as_ref(), "an object"));
                Value::Null
            }
        };
        let max_credits = optional(&mut fields, "max_credits").and_then(|value| {
            let number = value.as_i64().filter(|number| *number > 0);
            if number.is_none() {
                faults.push(wrong("/max_credits", Some(&value), "a whole number above 0"));
            }
            number
        });
        let expires_in = optional(&mut fields, "expires_in").and_then(|value| {
            let longest = kept.min(LONGEST);
            let span = value.as_u64().map(Duration::from_secs);
            let span = span.filter(|span| (SHORTEST..=longest).contains(span));
            if span.is_none() {
                let (from, to) = (SHORTEST.as_secs(), longest.as_secs());
                let days = longest.as_secs() / 86_400;
                let plural = if days == 1 { "" } else { "s" };
                let what =
                    format!("a whole number of seconds from {from} to {to} ({days} day{plural})");
                faults.push(wrong("/expires_in", Some(&value), &what));
            }
            span
        });
        let metadata = optional(&mut fields, "metadata").unwrap_or_else(|| Map::new().into());
        check_metadata(&metadata, &mut faults);
        faults.extend(unknown_fields("", &fields));
        if faults.is_empty() {
            Ok(Self { model, input, max_credits, metadata, expires_in, hash })
        } else {
            Err(Problem::invalid(faults))
        }
    }
}

/// A field that may be left out; null is the same.
fn optional(fields: &mut Map<String, Value>, name: &str) -> Option<Value> {
    fields.remove(name).filter(|value| !value.is_null())
}

fn wrong(pointer: &str, found: Option<&Value>, what: &str) -> FieldError {
    match found {
        None => FieldError::new(pointer, "is required"),
        Some(_) => FieldError::new(pointer, format!("must be {what}")),
    }
}

fn check_metadata(metadata: &Value, faults: &mut Vec<FieldError>) {
    let Value::Object(pairs) = metadata else {
        faults.push(wrong("/metadata", Some(metadata), "an object"));
        return;
    };
    if pairs.len() > METADATA_PAIRS {
        faults.push(FieldError::new("/metadata", "must not have more than 16 pairs"));
        return;
    }
    for (name, value) in pairs {
        if !(1..=METADATA_NAME).contains(&name.chars().count()) {
            faults.push(FieldError::new("/metadata", "must have names of 1 to 64 characters"));
            continue;
        }
        if value.as_str().is_none_or(|text| text.chars().count() > METADATA_VALUE) {
            let pointer = format!("/metadata/{}", escape(name));
            faults.push(FieldError::new(pointer, "must be a string of at most 512 characters"));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn with(name: &str, value: Value) -> Result<JobRequest, Problem> {
        let mut body = json!({"model": "demo/sketch", "input": {"prompt": "a"}});
        body[name] = value;
        JobRequest::read(body, 90 * DAY)
    }

    #[test]
    fn a_request_is_read() {
        let request = JobRequest::read(
            json!({
                "model": "demo/sketch", "input": {"prompt": "a"}, "max_credits": 5,
                "metadata": {"order": "7"}, "expires_in": 60,
            }),
            DAY,
        )
        .unwrap();
        assert_eq!(request.max_credits, Some(5));
        assert_eq!(request.expires_in, Some(Duration::from_secs(60)));
        assert_eq!(request.metadata, json!({"order": "7"}));
        assert_eq!(with("max_credits", Value::Null).unwrap().metadata, json!({}));
    }

    #[test]
    fn limits_hold() {
        let pairs = |count: usize| -> Value {
            (0..count).map(|n| (n.to_string(), json!("x"))).collect::<Map<_, _>>().into()
        };
        assert!(with("metadata", pairs(16)).is_ok());
        assert!(with("metadata", json!({"a": "é".repeat(512)})).is_ok());
        assert!(with("metadata", json!({"k".repeat(64): ""})).is_ok());
        assert!(with("expires_in", json!(2_592_000)).is_ok());
        for (name, value) in [
            ("metadata", pairs(17)),
            ("metadata", json!([])),
            ("metadata", json!({"a": 1})),
            ("metadata", json!({"a": "x".repeat(513)})),
            ("metadata", json!({"k".repeat(65): ""})),
            ("metadata", json!({"": "x"})),
            ("expires_in", json!(59)),
            ("expires_in", json!(2_592_001)),
            ("expires_in", json!(60.5)),
            ("expires_in", json!("60")),
            ("max_credits", json!(0)),
            ("max_credits", json!(-1)),
            ("max_credits", json!(1.5)),
            ("webhook_url", json!("https://example.com")),
            ("model", json!(1)),
            ("input", json!([])),
        ] {
            assert!(with(name, value.clone()).is_err(), "{name} {value}");
        }
        for body in [json!([]), json!({}), json!(null), json!({"model": "a/b"})] {
            assert!(JobRequest::read(body, DAY).is_err());
        }
    }

    #[test]
    fn nobody_keeps_content_for_longer_than_everybody() {
        let read = |seconds: u64, kept: Duration| {
            let body = json!({"model": "a/b", "input": {}, "expires_in": seconds});
            JobRequest::read(body, kept).map(|request| request.expires_in)
        };
        assert_eq!(read(86_400, DAY).unwrap(), Some(DAY));
        assert_eq!(read(30 * 86_400, 60 * DAY).unwrap(), Some(30 * DAY));
        for (seconds, kept, words) in [
            (86_401, DAY, "from 60 to 86400 (1 day)"),
            (7 * 86_400 + 1, 7 * DAY, "from 60 to 604800 (7 days)"),
            (30 * 86_400 + 1, 60 * DAY, "from 60 to 2592000 (30 days)"),
        ] {
            let problem = format!("{:?}", read(seconds, kept).unwrap_err());
            assert!(problem.contains(words), "{problem}");
        }
    }

    #[test]
    fn every_fault_is_listed() {
        let problem =
            JobRequest::read(json!({"model": 1, "x": 1, "max_credits": 0}), DAY).unwrap_err();
        let text = format!("{problem:?}");
        for pointer in ["/model", "/input", "/x", "/max_credits"] {
            assert!(text.contains(&format!("\"{pointer}\"")), "{pointer} in {text}");
        }
    }
}
