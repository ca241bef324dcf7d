//! What every response has, whoever made it: `x-request-id`, a problem body if it is an error,
//! security headers; and every request is counted, timed and traced.
//!
//! Queries, headers and raw paths are never logged: a media link's query opens the file.

use std::time::Instant;

use axum::{
    extract::{MatchedPath, Request},
    response::Response,
};
use entities::ids::JobId;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use tracing::{Instrument as _, Span, field::Empty};
use uuid::Uuid;

use crate::{app::App, platform, problem::Problem};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest request id that a client may choose.
const REQUEST_ID_LIMIT: usize = 64;

/// Marks a response that tells people of a problem by a page of its own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Page;

/// A year: browsers that came by https once come by https from then on.
const ONLY_HTTPS: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// The outermost of what surrounds a handler.
pub(crate) async fn finish<F, Fut>(app: &App, request: Request, next: F) -> Response
where
    F: FnOnce(Request) -> Fut,
    Fut: Future<Output = Response>,
{
    let begun = Instant::now();
    let id = request_id(request.headers());
    let method = method_name(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("unmatched", MatchedPath::as_str);
    let private = request.uri().path().starts_with("/v1");

    let span = tracing::info_span!("request", request_id = %id, method, route, job_id = Empty, model = Empty);
    let mut response = next(request).instrument(span.clone()).await;

    let failed = response.status().is_client_error() || response.status().is_server_error();
    if failed && response.extensions().get::<Page>().is_none() {
        let problem = response.extensions_mut().remove::<Problem>();
        let problem = problem.unwrap_or_else(|| Problem::for_status(response.status()));
        problem.write(&mut response, &id);
    }
    let headers = response.headers_mut();
    // Checked to be visible ASCII.
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, value);
    }
    if platform::is_https(&app.context) {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, ONLY_HTTPS);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if private {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }

    let status = response.status();
    let elapsed = begun.elapsed();
    platform::count_request(&app.context.metrics, route, method, status, elapsed);
    span.in_scope(|| {
        tracing::info!(status = status.as_u16(), ms = elapsed.as_millis(), "answered");
    });
    response
}

/// Notes in the request's one line of the log which job it made.
pub(crate) fn note_job(id: JobId, model: &str) {
    let span = Span::current();
    span.record("job_id", tracing::field::display(id));
    span.record("model", model);
}

/// The client's own id if it is harmless, else a fresh one.
fn request_id(headers: &HeaderMap) -> String {
    headers
        .get(REQUEST_ID)
        .and_then(|value| value.to_str().ok())
        .filter(|id| (1..=REQUEST_ID_LIMIT).contains(&id.len()))
        .filter(|id| id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'))
        .map_or_else(|| format!("req_{}", Uuid::now_v7().simple()), str::to_owned)
}

/// A label of few values: a client can invent methods.
pub(crate) fn method_name(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "OTHER",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(id: &str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, HeaderValue::from_str(id).unwrap());
        request_id(&headers)
    }

    #[test]
    fn only_a_harmless_id_of_the_client_is_kept() {
        assert_eq!(with("a-B_9"), "a-B_9");
        for id in ["", "a b", "a\"b", &"x".repeat(65)] {
            assert!(with(id).starts_with("req_"), "{id}");
        }
        assert!(request_id(&HeaderMap::new()).starts_with("req_"));
    }

    #[test]
    fn invented_methods_share_a_label() {
        assert_eq!(method_name(&Method::from_bytes(b"BREW").unwrap()), "OTHER");
        assert_eq!(method_name(&Method::GET), "GET");
    }
}
