//! A JSON body: read whole, within limits, and strictly: no duplicate field, no U+0000.
//!
//! What is not JSON at all is 400; what is JSON but breaks a rule is 422 with a pointer.

use std::{fmt, time::Duration};

use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
    response::IntoResponse as _,
};
use http::{HeaderMap, StatusCode, header};
use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use sha2::{Digest as _, Sha256};

use crate::problem::{Code, FieldError, Problem};

/// How long a body may take to arrive.
const ARRIVAL_LIMIT: Duration = Duration::from_secs(20);

/// The most faults that are listed.
const MOST_FAULTS: usize = 20;

/// A body of strict JSON.
pub(crate) struct StrictJson(pub(crate) Value);

impl<S: Send + Sync> FromRequest<S> for StrictJson {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::new(
                Code::UnsupportedMediaType,
                "The body must be JSON: Content-Type: application/json",
            ));
        }
        let bytes = tokio::time::timeout(ARRIVAL_LIMIT, Bytes::from_request(request, state))
            .await
            .map_err(|_| Problem::for_status(StatusCode::REQUEST_TIMEOUT))?
            .map_err(|rejection| Problem::for_status(rejection.into_response().status()))?;
        parse(&bytes).map(Self)
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(Ok(text)) = headers.get(header::CONTENT_TYPE).map(|value| value.to_str()) else {
        return false;
    };
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// Reads strict JSON.
pub(crate) fn parse(bytes: &[u8]) -> Result<Value, Problem> {
    let malformed = |error: serde_json::Error| {
        let detail = format!("The body is not JSON: {error}");
        Problem::new(Code::MalformedJson, detail)
    };
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let mut faults = Vec::new();
    let mut path = Vec::new();
    let strict = Strict { path: &mut path, faults: &mut faults };
    let value = strict.deserialize(&mut reader).map_err(malformed)?;
    reader.end().map_err(malformed)?;
    if faults.is_empty() { Ok(value) } else { Err(Problem::invalid(faults)) }
}

/// One step of a JSON pointer.
pub(crate) fn escape(step: &str) -> String {
    step.replace('~', "~0").replace('/', "~1")
}

/// The faults of fields that nobody asked for; a client may send anything as a name.
pub(crate) fn unknown_fields(at: &str, fields: &Map<String, Value>) -> Vec<FieldError> {
    let fault = |name: &String| {
        let name: String = name.chars().take(100).collect();
        FieldError::new(format!("{at}/{}", escape(&name)), "is not a known field")
    };
    fields.keys().take(MOST_FAULTS).map(fault).collect()
}

/// The hash of a value, whatever the order of its fields and its white space.
pub(crate) fn canonical_hash(value: &Value) -> [u8; 32] {
    let mut hasher = Sha256::new();
    feed(&mut hasher, value);
    hasher.finalize().into()
}

fn feed(hasher: &mut Sha256, value: &Value) {
    match value {
        Value::Array(items) => {
            hasher.update(b"[");
            for item in items {
                feed(hasher, item);
                hasher.update(b",");
            }
            hasher.update(b"]");
        }
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_unstable_by_key(|(name, _)| name.as_str());
            hasher.update(b"{");
            for (name, field) in fields {
                hasher.update(Value::from(name.as_str()).to_string());
                hasher.update(b":");
                feed(hasher, field);
                hasher.update(b",");
            }
            hasher.update(b"}");
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            hasher.update(value.to_string());
        }
    }
}

/// Builds a [`Value`] and notes what is wrong with it on the way.
struct Strict<'a> {
    path: &'a mut Vec<String>,
    faults: &'a mut Vec<FieldError>,
}

impl Strict<'_> {
    fn note(&mut self, detail: &str) {
        if self.faults.len() < MOST_FAULTS {
            let pointer: String =
                self.path.iter().map(|step| format!("/{}", escape(step))).collect();
            self.faults.push(FieldError::new(pointer, detail));
        }
    }

    fn check(&mut self, text: &str) {
        if text.contains('\0') {
            self.note("must not contain U+0000");
        }
    }

    fn below(&mut self) -> Strict<'_> {
        Strict { path: self.path, faults: self.faults }
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(mut self, value: &str) -> Result<Value, E> {
        self.check(value);
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        loop {
            self.path.push(values.len().to_string());
            let item = items.next_element_seed(self.below());
            self.path.pop();
            match item? {
                Some(item) => values.push(item),
                None => return Ok(Value::Array(values)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut fields: A) -> Result<Value, A::Error> {
        let mut values = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            self.path.push(name.clone());
            self.check(&name);
            if values.contains_key(&name) {
                self.note("is given twice");
            }
            let value = fields.next_value_seed(self.below());
            self.path.pop();
            values.insert(name, value?);
        }
        Ok(Value::Object(values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pointers(text: &str) -> Vec<String> {
        let mut reader = serde_json::Deserializer::from_str(text);
        let (mut path, mut faults) = (Vec::new(), Vec::new());
        Strict { path: &mut path, faults: &mut faults }.deserialize(&mut reader).unwrap();
        faults.into_iter().map(|fault| fault.pointer).collect()
    }

    #[test]
    fn it_reads_what_serde_json_reads() {
        let text = r#"{"a":[1,-2,3.5,true,null,"é\n"],"b":{"c":{}}}"#;
        assert_eq!(parse(text.as_bytes()).unwrap(), serde_json::from_str::<Value>(text).unwrap());
    }

    #[test]
    fn duplicates_and_nul_are_found_at_any_depth() {
        assert_eq!(pointers(r#"{"a":1,"a":2}"#), ["/a"]);
        assert_eq!(pointers(r#"{"a":[{"x/y":"\u0000"}]}"#), ["/a/0/x~1y"]);
        assert_eq!(pointers(r#"{"a":{"b~":1,"b~":2}}"#), ["/a/b~0"]);
        assert_eq!(pointers(r#"[["ok"]]"#), Vec::<String>::new());
        assert_eq!(pointers(r#"{"\u0000":1}"#).len(), 1);
    }

    #[test]
    fn what_is_not_json_is_malformed() {
        let deep = "[".repeat(100_000);
        for text in ["", "{", "{} x", "nope", "\"\\ud800\"", "1e999", &deep] {
            let problem = parse(text.as_bytes()).unwrap_err();
            let response = problem.into_response();
            assert_eq!(response.status(), 400, "{}", &text[..text.len().min(20)]);
        }
        assert!(parse(b"\"\xff\"").is_err());
    }

    #[test]
    fn the_hash_sees_values_only() {
        let hash = |text: &str| canonical_hash(&parse(text.as_bytes()).unwrap());
        assert_eq!(hash(r#"{"a":1,"b":[1,2]}"#), hash(r#" { "b": [1, 2], "a": 1 } "#));
        assert_ne!(hash(r#"{"a":1}"#), hash(r#"{"a":"1"}"#));
        assert_ne!(hash("[1,2]"), hash("[2,1]"));
        assert_ne!(hash(r#"[["a"],"b"]"#), hash(r#"[["a","b"]]"#));
    }
}
