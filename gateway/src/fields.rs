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
    pub(crate) fn of(body: Value) -> Result<Self, Problem> {
        match body {
            Value::Object(values) => Ok(Self { values, faults: Vec::new() }),
            _ => Err(Problem::invalid(vec![FieldError::new("", "must be an object")])),
        }
    }

    /// Notes a mistake.
    pub(crate) fn fault(&mut self, name: &str, detail: impl Into<String>) {
        self.faults.push(FieldError::new(format!("/{name}"), detail));
    }

    /// With this text.
    pub(crate) fn with(mut self, name: &str, text: &str) -> Self {
        self.values.insert(name.to_owned(), Value::String(text.to_owned()));
        self
    }

    /// A text that must be there; empty after a mistake.
    pub(crate) fn text(&mut self, name: &str, most: usize) -> String {
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
    pub(crate) fn optional(&mut self, name: &str, most: usize) -> Option<String> {
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

    /// A text that may be missing, but not be empty.
    pub(crate) fn optional_text(&mut self, name: &str, most: usize) -> Option<String> {
        let text = self.optional(name, most)?;
        if text.is_empty() {
            self.fault(name, "must not be empty");
            return None;
        }
        Some(text)
    }

    /// The same without control characters, such as a person's name. Null says that there is to be
    /// none, and is told apart from a field that is not there.
    pub(crate) fn nullable_line(&mut self, name: &str, most: usize) -> Option<Option<String>> {
        if self.values.get(name)?.is_null() {
            self.values.remove(name);
            return Some(None);
        }
        let text = self.optional_text(name, most)?;
        if text.chars().any(char::is_control) {
            self.fault(name, "must not contain control characters");
            return None;
        }
        Some(Some(text))
    }

    /// A whole number that must be there; zero after a mistake.
    pub(crate) fn whole(&mut self, name: &str) -> i64 {
        let Some(value) = self.required(name) else { return 0 };
        value.as_i64().unwrap_or_else(|| {
            self.fault(name, "must be a whole number");
            0
        })
    }

    /// One of these words, which must be there.
    pub(crate) fn choice<T: Copy>(&mut self, name: &str, words: &[(&str, T)]) -> Option<T> {
        let value = self.required(name)?;
        let found = words.iter().find(|(word, _)| value == *word).map(|(_, meaning)| *meaning);
        if found.is_none() {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.fault(name, format!("must be {}", words.join(" or ")));
        }
        found
    }

    fn required(&mut self, name: &str) -> Option<Value> {
        let value = self.values.remove(name);
        if value.is_none() {
            self.fault(name, "is required");
        }
        value
    }

    /// The end: whatever is left is unknown.
    pub(crate) fn end(mut self) -> Result<(), Problem> {
        for name in std::mem::take(&mut self.values).into_iter().map(|(name, _)| name).take(20) {
            let name: String = name.chars().filter(|c| !c.is_control()).take(100).collect();
            self.fault(&escape(&name), "is not a known field");
        }
        if self.faults.is_empty() { Ok(()) } else { Err(Problem::invalid(self.faults)) }
    }
}

/// The fields of a JSON body.
impl<S: Send + Sync> FromRequest<S> for Fields {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let StrictJson(body) = StrictJson::from_request(request, state).await?;
        Self::of(body)
    }
}

/// The fields of a form.
pub(crate) struct FormFields(pub(crate) Fields);

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
        Fields::of(Value::Object(values)).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_mistake_is_found() {
        let mut fields =
            Fields::of(json!({"a": "x", "b": 1, "c": "long", "d": null, "e": "", "f": 1})).unwrap();
        assert_eq!(fields.text("a", 9), "x");
        assert_eq!(fields.text("b", 9), "");
        assert_eq!(fields.optional("c", 3), None);
        assert_eq!(fields.optional("d", 3), None);
        assert_eq!(fields.text("e", 3), "");
        assert_eq!(fields.text("g", 3), "");
        let faults: Vec<&str> = fields.faults.iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(faults, ["/b", "/c", "/e", "/g"]);
        assert!(fields.end().is_err());
        assert!(Fields::of(json!([])).is_err());
    }

    #[test]
    fn fields_are_read() {
        let body = json!({"a": "x", "b": null, "c": "on", "d": "Ada", "n": -3});
        let mut fields = Fields::of(body).unwrap();
        assert_eq!(fields.optional_text("a", 1), Some("x".to_owned()));
        assert_eq!(fields.nullable_line("b", 3), Some(None));
        assert_eq!(fields.nullable_line("b", 3), None);
        assert_eq!(fields.choice("c", &[("on", true), ("off", false)]), Some(true));
        assert_eq!(fields.nullable_line("d", 3), Some(Some("Ada".to_owned())));
        assert_eq!(fields.whole("n"), -3);
        assert_eq!(fields.end(), Ok(()));
    }

    #[test]
    fn what_does_not_fit_is_told() {
        let body = json!({"a": "", "b": "\u{7}", "c": "maybe", "d": 1, "n": 1.5, "m/m": 1});
        let mut fields = Fields::of(body).unwrap();
        assert_eq!(fields.optional_text("a", 1), None);
        assert_eq!(fields.nullable_line("b", 1), None);
        assert_eq!(fields.choice("c", &[("on", true)]), None);
        assert_eq!(fields.nullable_line("d", 1), None);
        assert_eq!(fields.whole("n"), 0);
        assert_eq!(fields.whole("o"), 0);
        let faults: Vec<&str> = fields.faults.iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(faults, ["/a", "/b", "/c", "/d", "/n", "/o"]);
        assert!(fields.end().is_err());
    }
}
