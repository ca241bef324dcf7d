//! Parts of a request: path ids, query parameters, the idempotency key. All are strict: what is
//! not understood is refused, never ignored.

use std::{collections::BTreeMap, fmt::Display, str::FromStr};

use axum::extract::{FromRequestParts, Path};
use entities::ids::{ApiKeyId, JobId, UploadId};
use http::{HeaderMap, request::Parts};
use url::form_urlencoded;

use crate::problem::{FieldError, Problem};

/// The id in the path. A text that is no id names nothing, which is told as `missing` tells it.
pub(crate) async fn path_id<T: FromStr, S: Send + Sync>(
    parts: &mut Parts,
    state: &S,
    missing: fn() -> Problem,
) -> Result<T, Problem> {
    let text = Path::<String>::from_request_parts(parts, state).await;
    text.ok().and_then(|Path(text)| text.parse().ok()).ok_or_else(missing)
}

/// The job of the path.
pub(crate) struct JobPath(pub(crate) JobId);

impl<S: Send + Sync> FromRequestParts<S> for JobPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        path_id(parts, state, Problem::no_such_job).await.map(Self)
    }
}

/// The upload of the path.
pub(crate) struct UploadPath(pub(crate) UploadId);

impl<S: Send + Sync> FromRequestParts<S> for UploadPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        path_id(parts, state, Problem::no_such_upload).await.map(Self)
    }
}

/// The API key of the path.
pub(crate) struct KeyPath(pub(crate) ApiKeyId);

impl<S: Send + Sync> FromRequestParts<S> for KeyPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        path_id(parts, state, Problem::no_such_key).await.map(Self)
    }
}

/// The query's parameters, each given at most once.
pub(crate) struct Parameters(BTreeMap<String, String>);

impl<S: Send + Sync> FromRequestParts<S> for Parameters {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Self::parse(parts.uri.query().unwrap_or_default())
    }
}

impl Parameters {
    pub(crate) fn parse(query: &str) -> Result<Self, Problem> {
        let mut values = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if value.contains('\0') || name.contains('\0') {
                return Err(refused(&name, "must not contain U+0000"));
            }
            if values.contains_key(name.as_ref()) {
                return Err(refused(&name, "is given twice"));
            }
            values.insert(name.into_owned(), value.into_owned());
        }
        Ok(Self(values))
    }

    /// Takes a parameter out as it is.
    pub(crate) fn text(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    /// Takes a parameter out, such as an id; `what` says what it should be.
    pub(crate) fn parsed<T: FromStr>(
        &mut self,
        name: &str,
        what: &str,
    ) -> Result<Option<T>, Problem> {
        self.0
            .remove(name)
            .map(|text| text.parse().map_err(|_| refused(name, format!("must be {what}"))))
            .transpose()
    }

    /// Takes a whole number out, which must be in the range.
    pub(crate) fn number(
        &mut self,
        name: &str,
        range: std::ops::RangeInclusive<u64>,
    ) -> Result<Option<u64>, Problem> {
        let what = format!("a whole number from {} to {}", range.start(), range.end());
        match self.parsed::<u64>(name, &what)? {
            Some(number) if !range.contains(&number) => {
                Err(refused(name, format!("must be {what}")))
            }
            number => Ok(number),
        }
    }

    /// The end: whatever is left is unknown.
    pub(crate) fn end(self) -> Result<(), Problem> {
        match self.0.into_keys().next() {
            Some(name) => Err(refused(&name, "is not a known parameter")),
            None => Ok(()),
        }
    }
}

/// A query parameter that cannot be used.
pub(crate) fn refused(name: &str, detail: impl Display) -> Problem {
    // A client may send anything as a name; the answer repeats a piece of it.
    let name: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
    let pointer = format!("/query/{}", crate::json::escape(&name));
    Problem::invalid(vec![FieldError::new(pointer, format!("{name} {detail}"))])
}

/// `limit` and `after`, as every list has them.
pub(crate) struct Page<C> {
    pub(crate) limit: u64,
    pub(crate) after: Option<C>,
}

impl<C: FromStr> Page<C> {
    pub(crate) fn take(parameters: &mut Parameters) -> Result<Self, Problem> {
        Ok(Self {
            limit: parameters.number("limit", 1..=100)?.unwrap_or(20),
            after: parameters.parsed("after", "the `next` of an earlier answer")?,
        })
    }
}

/// The query of a list that has no other parameters.
impl<C: FromStr, S: Send + Sync> FromRequestParts<S> for Page<C> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let mut parameters = Parameters::from_request_parts(parts, state).await?;
        let page = Self::take(&mut parameters)?;
        parameters.end()?;
        Ok(page)
    }
}

/// The `Idempotency-Key` header: 1 to 255 visible ASCII characters.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let bad = |detail: &str| {
        Problem::invalid(vec![FieldError::new(
            "/headers/idempotency-key",
            format!("Idempotency-Key {detail}"),
        )])
    };
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(bad("is given twice"));
    }
    let bytes = value.as_bytes();
    if (1..=255).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic) {
        Ok(value.to_str().ok().map(str::to_owned))
    } else {
        Err(bad("must be 1 to 255 visible ASCII characters"))
    }
}

/// Whether `If-None-Match` names this entity tag.
pub(crate) fn none_match(headers: &HeaderMap, etag: &str) -> bool {
    headers
        .get_all(http::header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(query: &str) -> Result<(u64, Option<JobId>), Problem> {
        let mut parameters = Parameters::parse(query)?;
        let page = Page::take(&mut parameters)?;
        parameters.end()?;
        Ok((page.limit, page.after))
    }

    #[test]
    fn a_page_is_read() {
        let id = JobId::generate();
        assert_eq!(page(""), Ok((20, None)));
        assert_eq!(page(&format!("after={id}&limit=100")), Ok((100, Some(id))));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for query in [
            "limit=0",
            "limit=101",
            "limit=-1",
            "limit=x",
            "limit=",
            "limit=1&limit=2",
            "after=x",
            "after=",
            "after=%00",
            "unknown=1",
            "%ff=1",
            "limit=99999999999999999999999",
        ] {
            assert!(page(query).is_err(), "{query}");
        }
    }

    #[test]
    fn an_idempotency_key_is_visible_ascii() {
        let read = |value: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert("idempotency-key", http::HeaderValue::from_bytes(value).unwrap());
            idempotency_key(&headers)
        };
        assert_eq!(read(b"abc-1"), Ok(Some("abc-1".into())));
        assert_eq!(read(&[b'x'; 255]), Ok(Some("x".repeat(255))));
        for bad in [&b""[..], b"a b", &[b'x'; 256], "é".as_bytes()] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
        assert_eq!(idempotency_key(&HeaderMap::new()), Ok(None));
    }

    #[test]
    fn entity_tags_match_weakly() {
        let mut headers = HeaderMap::new();
        headers.insert("if-none-match", "\"v1\", W/\"v2\"".parse().unwrap());
        assert!(none_match(&headers, "\"v1\""));
        assert!(none_match(&headers, "\"v2\""));
        assert!(!none_match(&headers, "\"v3\""));
    }
}
