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
    problem::{Code, Problem},
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
        Err(problem)
            if problem.is(Code::WrongCredentials) || problem.is(Code::ReauthenticationRequired) =>
        {
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
