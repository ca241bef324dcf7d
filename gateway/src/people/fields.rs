//! The fields of a body, whether it came as JSON or from a form: each is asked for by name, every
//! mistake is found, and what nobody asked for is refused.

use axum::extract::{FromRequest, Request};
use http::{StatusCode, header};
use serde_json::{Map, Value};
use url::form_urlencoded;

use crate::{
    json::{StrictJson, escape},
    problem::{Code, FieldError, Problem},
};

/// The longest form, in bytes.
const FORM: usize = 16 * 1024;

/// A body's fields.
pub(crate) struct Fields {
    values: Map<String, Value>,
    faults: Vec<FieldError>,
}

impl Fields {
    pub(super) fn new(body: Value) -> Result<Self, Problem> {
        match body {
            Value::Object(values) => Ok(Self { values, faults: Vec::new() }),
            _ => Err(Problem::invalid(vec![FieldError::new("", "must be an object")])),
        }
    }

    /// Notes a mistake.
    pub(super) fn fault(&mut self, name: &str, detail: impl Into<String>) {
        self.faults.push(FieldError::new(format!("/{name}"), detail));
    }

    /// With this text.
    pub(super) fn with(mut self, name: &str, text: &str) -> Self {
        self.values.insert(name.to_owned(), Value::String(text.to_owned()));
        self
    }

    /// A text that must be there; empty after a mistake.
    pub(super) fn text(&mut self, name: &str, most: usize) -> String {
        match self.optional(name, most) {
            Some(text) if !text.is_empty() => text,
            Some(_) => {
                self.fault(name, "must not be empty");
                String::new()
            }
            None => {
                if !self.faults.iter().any(|fault| fault.pointer == format!("/{name}")) {
                    self.fault(name, "is required");
                }
                String::new()
            }
        }
    }

    /// A text that may be missing.
    pub(super) fn optional(&mut self, name: &str, most: usize) -> Option<String> {
        match self.values.remove(name)? {
            Value::Null => None,
            Value::String(text) if text.chars().count() <= most => Some(text),
            Value::String(_) => {
                self.fault(name, format!("must have at most {most} characters"));
                None
            }
            _ => {
                self.fault(name, "must be a text");
                None
            }
        }
    }

    /// The end: whatever is left is unknown.
    pub(super) fn end(mut self) -> Result<(), Problem> {
        let unknown: Vec<String> = self.values.keys().cloned().collect();
        for name in unknown {
            let name: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
            self.faults
                .push(FieldError::new(format!("/{}", escape(&name)), "is not a known field"));
        }
        if self.faults.is_empty() { Ok(()) } else { Err(Problem::invalid(self.faults)) }
    }
}

/// The fields of a JSON body.
impl<S: Send + Sync> FromRequest<S> for Fields {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let StrictJson(body) = StrictJson::from_request(request, state).await?;
        Self::new(body)
    }
}

/// The fields of a form.
pub(super) struct FormFields(pub(super) Fields);

impl<S: Send + Sync> FromRequest<S> for FormFields {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        if kind.is_none_or(|kind| !kind.starts_with("application/x-www-form-urlencoded")) {
            let detail = "The body must be a form: Content-Type: application/x-www-form-urlencoded";
            return Err(Problem::new(Code::UnsupportedMediaType, detail));
        }
        let bytes = axum::body::to_bytes(request.into_body(), FORM)
            .await
            .map_err(|_| Problem::for_status(StatusCode::PAYLOAD_TOO_LARGE))?;
        let mut values = Map::new();
        for (name, value) in form_urlencoded::parse(&bytes) {
            if name.contains('\0') || value.contains('\0') || values.contains_key(name.as_ref()) {
                return Err(Problem::for_status(StatusCode::BAD_REQUEST));
            }
            values.insert(name.into_owned(), Value::String(value.into_owned()));
        }
        Fields::new(Value::Object(values)).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_mistake_is_found() {
        let mut fields =
            Fields::new(json!({"a": "x", "b": 1, "c": "long", "d": null, "e": "", "f": 1}))
                .unwrap();
        assert_eq!(fields.text("a", 9), "x");
        assert_eq!(fields.text("b", 9), "");
        assert_eq!(fields.optional("c", 3), None);
        assert_eq!(fields.optional("d", 3), None);
        assert_eq!(fields.text("e", 3), "");
        assert_eq!(fields.text("g", 3), "");
        let faults: Vec<&str> = fields.faults.iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(faults, ["/b", "/c", "/e", "/g"]);
        assert!(fields.end().is_err());
        assert!(Fields::new(json!([])).is_err());
    }
}
