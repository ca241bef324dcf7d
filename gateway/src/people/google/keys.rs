//! Google's keys: read when they are needed, kept as long as Google says, and read again, now and
//! then, when a token names one that is not among them.

use std::time::{Duration, Instant};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, header};
use serde::Deserialize;
use serde_json::Value;

use super::{GoogleError, token::Key};

/// Between two reads that unknown keys cause: anybody can make up the name of a key.
const PAUSE: Duration = Duration::from_secs(5);

/// How long keys are kept at least and at most, whatever Google says.
const KEPT: std::ops::RangeInclusive<u64> = 60..=86_400;

/// Keys that were read.
#[derive(Debug, Default)]
pub(super) struct Keys {
    all: Vec<Key>,
    read_at: Option<Instant>,
    until: Option<Instant>,
}

/// Whether a key is known.
pub(super) enum Found {
    /// It is.
    Key(Key),
    /// The keys should be read, again perhaps.
    Read,
    /// It is not, and they were read just now.
    No,
}

impl Keys {
    /// Looks for a key.
    pub(super) fn find(&self, kid: &str, now: Instant) -> Found {
        let fresh = self.until.is_some_and(|until| now < until);
        match self.all.iter().find(|key| key.kid == kid) {
            Some(key) if fresh => Found::Key(key.clone()),
            _ if !fresh => Found::Read,
            _ if self.read_at.is_some_and(|at| now.duration_since(at) < PAUSE) => Found::No,
            _ => Found::Read,
        }
    }

    /// Takes an answer in.
    pub(super) fn take(
        &mut self,
        headers: &HeaderMap,
        body: &[u8],
        now: Instant,
    ) -> Result<(), GoogleError> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        let set: Set = serde_json::from_slice(body)
            .map_err(|error| GoogleError::Away(format!("its keys cannot be read: {error}")))?;
        self.all = set.keys.iter().filter_map(key).collect();
        self.read_at = Some(now);
        self.until = Some(now + max_age(headers));
        Ok(())
    }
}

/// A key for RS256; others are passed over.
fn key(jwk: &Value) -> Option<Key> {
    let text = |name: &str| jwk[name].as_str();
    let fits = text("kty")? == "RSA"
        && text("use").is_none_or(|found| found == "sig")
        && text("alg").is_none_or(|found| found == "RS256");
    let number = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?).ok();
    let key = Key { kid: text("kid")?.to_owned(), n: number("n")?, e: number("e")? };
    fits.then_some(key)
}

fn max_age(headers: &HeaderMap) -> Duration {
    let said = headers
        .get(header::CACHE_CONTROL)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.split(',').find_map(|part| part.trim().strip_prefix("max-age=")))
        .and_then(|seconds| seconds.parse().ok())
        .unwrap_or(0);
    Duration::from_secs(said.clamp(*KEPT.start(), *KEPT.end()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_are_kept_and_read_again_for_an_unknown_one() {
        let (mut keys, start) = (Keys::default(), Instant::now());
        assert!(matches!(keys.find("a", start), Found::Read));
        let mut headers = HeaderMap::new();
        headers
            .insert(header::CACHE_CONTROL, "public, max-age=100, must-revalidate".parse().unwrap());
        let body = json!({"keys": [
            {"kty": "RSA", "kid": "a", "n": "AQAB", "e": "AQAB", "use": "sig", "alg": "RS256"},
            {"kty": "EC", "kid": "b", "crv": "P-256"},
            {"kty": "RSA", "kid": "c", "n": "AQAB", "e": "AQAB", "use": "enc"},
        ]});
        keys.take(&headers, body.to_string().as_bytes(), start).unwrap();
        let after = |seconds| start + Duration::from_secs(seconds);
        assert!(matches!(keys.find("a", after(1)), Found::Key(_)));
        for other in ["b", "c", "d"] {
            assert!(matches!(keys.find(other, after(1)), Found::No), "{other}");
            assert!(matches!(keys.find(other, after(6)), Found::Read), "{other}");
        }
        assert!(matches!(keys.find("a", after(101)), Found::Read));
        assert!(keys.take(&headers, b"<html>", start).is_err());
    }
}
