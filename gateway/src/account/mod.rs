//! `/v1/account`: who the caller is to the platform, and what they may ask about their data.
//!
//! | file | what |
//! |---|---|
//! | `profile` | looking at it and changing it |
//! | `exports` | a copy of everything |
//! | `erase` | the end, and its receipt |
//!
//! What cannot be undone asks for a proof that it is the owner: the password, or a sign-in of the last
//! few minutes.

pub(crate) mod erase;
pub(crate) mod exports;
pub(crate) mod profile;

use std::ops::RangeInclusive;

use axum::{
    Json,
    body::Bytes,
    extract::{FromRequest, Request},
    response::{IntoResponse as _, Response},
};
use entities::accounts::Caller;
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    app::App,
    json::StrictJson,
    people::{self, Visitor},
    problem::{Code, FieldError, Problem},
};

/// Makes sure that it is the owner who asks: by the password, or because they signed in just now. How
/// often a password may be tried is limited as at a sign-in.
async fn confirm(
    app: &App,
    visitor: &Visitor,
    caller: &Caller,
    password: Option<String>,
) -> Result<(), Problem> {
    match people::confirm(&app.context, visitor, caller, password).await {
        Ok(_) => Ok(()),
        Err(problem) if problem.is(Code::WrongCredentials) || problem.is(Code::SignInAgain) => {
            let detail = "Send the account's password, or sign in and ask again within 10 minutes.";
            Err(Problem::new(Code::ReauthenticationRequired, detail))
        }
        Err(problem) => Err(problem),
    }
}

/// The answer to what is done later, and where to look for it.
pub(crate) fn accepted(place: &str, body: impl Serialize) -> Response {
    let mut response = (StatusCode::ACCEPTED, Json(body)).into_response();
    if let Ok(place) = HeaderValue::from_str(place) {
        response.headers_mut().insert(header::LOCATION, place);
    }
    response
}

/// The fields of a body, each taken out once.
struct Fields(Map<String, Value>);

impl Fields {
    fn of(body: Value) -> Result<Self, Problem> {
        match body {
            Value::Object(fields) => Ok(Self(fields)),
            _ => Err(Problem::invalid(vec![FieldError::new("", "must be an object")])),
        }
    }

    /// A text of so many characters that has no control characters; null is none, and is told apart
    /// from a field that is not there.
    fn nullable(
        &mut self,
        name: &str,
        chars: RangeInclusive<usize>,
    ) -> Result<Option<Option<String>>, Problem> {
        let refused = |detail: String| {
            Problem::invalid(vec![FieldError::new(format!("/{name}"), format!("{name} {detail}"))])
        };
        match self.0.remove(name) {
            None => Ok(None),
            Some(Value::Null) => Ok(Some(None)),
            Some(Value::String(text)) => {
                let fits = chars.contains(&text.chars().count());
                if fits && !text.chars().any(char::is_control) {
                    return Ok(Some(Some(text)));
                }
                let (least, most) = (chars.start(), chars.end());
                Err(refused(format!(
                    "must have {least} to {most} characters, none of them a control character"
                )))
            }
            Some(_) => Err(refused("must be a text".to_owned())),
        }
    }

    /// The same where null is as good as nothing.
    fn text(
        &mut self,
        name: &str,
        chars: RangeInclusive<usize>,
    ) -> Result<Option<String>, Problem> {
        Ok(self.nullable(name, chars)?.flatten())
    }

    /// The end: whatever is left is unknown.
    fn end(self) -> Result<(), Problem> {
        let unknown = |name: &String| {
            let name: String = name.chars().take(100).collect();
            FieldError::new(format!("/{}", crate::json::escape(&name)), "is not a known field")
        };
        let unknown: Vec<FieldError> = self.0.keys().take(20).map(unknown).collect();
        if unknown.is_empty() { Ok(()) } else { Err(Problem::invalid(unknown)) }
    }
}

/// A body of strict JSON, or none: some clients cannot send one with every method.
pub(crate) struct MaybeJson(Value);

impl<S: Send + Sync> FromRequest<S> for MaybeJson {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if request.headers().contains_key(header::CONTENT_TYPE) {
            return StrictJson::from_request(request, state).await.map(|StrictJson(v)| Self(v));
        }
        let body = Bytes::from_request(request, state)
            .await
            .map_err(|rejection| Problem::for_status(rejection.into_response().status()))?;
        if body.is_empty() {
            return Ok(Self(Value::Object(Map::new())));
        }
        let detail = "The body must be JSON: Content-Type: application/json";
        Err(Problem::new(Code::UnsupportedMediaType, detail))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_strict() {
        let mut fields = Fields::of(json!({"a": "x", "b": null, "c": 7, "d": "\u{7}"})).unwrap();
        assert_eq!(fields.nullable("a", 1..=1).unwrap(), Some(Some("x".to_owned())));
        assert_eq!(fields.nullable("b", 1..=1).unwrap(), Some(None));
        assert_eq!(fields.nullable("e", 1..=1).unwrap(), None);
        assert!(fields.text("c", 1..=1).is_err());
        assert!(fields.text("d", 1..=1).is_err());
        assert!(Fields::of(json!([])).is_err());
        assert!(Fields::of(json!({"z": 1})).unwrap().end().is_err());
    }
}
