//! `GET /media/{key}?exp=&sig=`: a file, for whoever holds a link that is signed and in time.
//!
//! The key names content that never changes, so it is the entity tag as well. A browser must
//! not treat what it gets as a page of ours: sandboxed, nothing sniffed. Whoever fetches an export is
//! noted in its owner's audit log: a link says nothing about who holds it.

use std::time::Duration;

use axum::{
    body::Body,
    extract::{Path, State},
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use sha2::{Digest as _, Sha256};

use crate::{
    account::exports,
    address::Client,
    app::App,
    extract::{Parameters, none_match},
    platform,
    problem::{Code, Problem, ProblemBody},
    range::{Asked, asked},
};

/// A media file.
#[utoipa::path(get, path = "/media/{key}", tag = "media", security(()),
    params(
        ("key" = String, Path, description = "the file's name, which may contain slashes"),
        ("exp" = String, Query), ("sig" = String, Query),
    ),
    responses(
        (status = 200, description = "the file"),
        (status = 206, description = "the part of it that was asked for"),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(crate) async fn get(
    State(app): State<App>,
    path: Result<Path<String>, axum::extract::rejection::PathRejection>,
    client: Client,
    mut parameters: Parameters,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Ok(Path(key)) = path else {
        return Err(Problem::new(Code::NotFound, "There is no such file."));
    };
    let expires = parameters.text("exp").unwrap_or_default();
    let signature = parameters.text("sig").unwrap_or_default();
    parameters.end()?;
    let left = platform::check_link(&app.context, &key, &expires, &signature)?;

    let file = platform::stat(&app.context, &key).await?;
    let etag = format!("\"{:.32}\"", hex(&Sha256::digest(&key)));
    if none_match(&headers, &etag) {
        let mut response = StatusCode::NOT_MODIFIED.into_response();
        describe(response.headers_mut(), &file.content_type, &etag, left);
        return Ok(response);
    }
    let (status, part) = match asked(range_header(&headers, &etag), file.bytes) {
        Asked::Whole => (StatusCode::OK, 0..file.bytes),
        Asked::Part(part) => (StatusCode::PARTIAL_CONTENT, part),
        Asked::Unsatisfiable => {
            return Err(Problem::new(
                Code::RangeNotSatisfiable,
                format!("The file has {} bytes.", file.bytes),
            )
            .with_header(header::CONTENT_RANGE, ascii(&format!("bytes */{}", file.bytes))));
        }
    };
    let length = part.end - part.start;
    let range = format!("bytes {}-{}/{}", part.start, part.end.saturating_sub(1), file.bytes);
    let body = if method == Method::HEAD || length == 0 {
        Body::empty()
    } else {
        exports::fetched(&app.context, &key, client, part.start).await?;
        Body::from_stream(platform::read(&app.context, &key, part).await?)
    };
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    describe(headers, &file.content_type, &etag, left);
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    if status == StatusCode::PARTIAL_CONTENT {
        headers.insert(header::CONTENT_RANGE, ascii(&range));
    }
    Ok(response)
}

/// The range, unless it is meant for another file than this one (`If-Range`).
fn range_header<'h>(headers: &'h HeaderMap, etag: &str) -> Option<&'h str> {
    let meant = headers.get(header::IF_RANGE).is_none_or(|tag| tag == etag);
    headers.get(header::RANGE).filter(|_| meant)?.to_str().ok()
}

/// A copy that a browser keeps works no longer than the link: `left` is the rest of its life.
fn describe(headers: &mut HeaderMap, content_type: &str, etag: &str, left: Duration) {
    let shown = content_type.starts_with("image/") || content_type.starts_with("video/");
    let fixed: [(HeaderName, &'static str); 4] = [
        (header::ACCEPT_RANGES, "bytes"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox"),
        (header::CONTENT_DISPOSITION, if shown { "inline" } else { "attachment" }),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(header::CONTENT_TYPE, ascii(content_type));
    headers.insert(header::ETAG, ascii(etag));
    let kept = format!("private, max-age={}", left.as_secs());
    headers.insert(header::CACHE_CONTROL, ascii(&kept));
}

/// A header from text that we made; what is no header becomes empty.
fn ascii(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_for_another_file_is_ignored() {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, HeaderValue::from_static("bytes=0-1"));
        assert_eq!(range_header(&headers, "\"a\""), Some("bytes=0-1"));
        headers.insert(header::IF_RANGE, HeaderValue::from_static("\"b\""));
        assert_eq!(range_header(&headers, "\"a\""), None);
        assert_eq!(range_header(&headers, "\"b\""), Some("bytes=0-1"));
    }
}
