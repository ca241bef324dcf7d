//! A problem as an answer.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};
use serde::Serialize;
use utoipa::ToSchema;

use super::{FieldError, Problem};

/// A problem as clients see it (`application/problem+json`).
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProblemBody<'a> {
    /// A URN that ends with the code.
    #[serde(rename = "type")]
    kind: String,
    /// The kind of problem, for people.
    title: &'a str,
    /// The HTTP status.
    status: u16,
    /// The kind of problem, for programs.
    code: &'a str,
    /// This problem, in plain words.
    detail: &'a str,
    /// The request, as in `x-request-id`.
    request_id: &'a str,
    /// What is wrong with the input, part by part.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldError],
}

impl Problem {
    /// Writes its headers into a response that tells of it in another way.
    pub(crate) fn write_headers(&self, response: &mut Response) {
        for (name, value) in &self.headers {
            // One answer may set several cookies; everything else is said once.
            if name == header::SET_COOKIE {
                response.headers_mut().append(name.clone(), value.clone());
            } else {
                response.headers_mut().insert(name.clone(), value.clone());
            }
        }
    }

    /// Writes the body and headers into a response that carries this problem.
    pub(crate) fn write(&self, response: &mut Response, request_id: &str) {
        let body = ProblemBody {
            kind: format!("urn:tiktomato:problem:{}", self.code.name()),
            title: self.code.title(),
            status: self.code.status().as_u16(),
            code: self.code.name(),
            detail: &self.detail,
            request_id,
            errors: &self.errors,
        };
        *response.status_mut() = self.code.status();
        let headers = response.headers_mut();
        headers.remove(header::CONTENT_LENGTH);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        self.write_headers(response);
        // Strings and numbers only: it always serializes.
        let bytes = serde_json::to_vec(&body).unwrap_or_default();
        *response.body_mut() = bytes.into();
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.code.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}
