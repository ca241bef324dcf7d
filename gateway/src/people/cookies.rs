//! Cookies, all of them essential: the session; which browser has signed in to an account before,
//! so that strangers who guess passwords cannot lock its owner out; that somebody said they were
//! too young; and what a sign-in with Google needs between two steps.
//!
//! All are `__Host-`, `HttpOnly`, `Secure` and `SameSite=Lax`. Browsers take `Secure` cookies from
//! `http://localhost` and `http://127.0.0.1` as well.

use std::{convert::Infallible, time::Duration};

use axum::response::{IntoResponseParts, ResponseParts};
use axum_extra::extract::cookie::Cookie;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use config::secrets::{MasterSecrets, Purpose};
use entities::Timestamp;
use http::{HeaderMap, HeaderValue, header};
use serde::{Serialize, de::DeserializeOwned};

/// Who is signed in.
pub(crate) const SESSION: &str = "__Host-tt_session";
/// That this browser has signed in to an account.
pub(crate) const DEVICE: &str = "__Host-tt_device";
/// That somebody here said that they were too young. Ends with the browser.
pub(crate) const AGE: &str = "__Host-tt_age";
/// A sign-in with Google that has begun.
pub(crate) const FLOW: &str = "__Host-tt_google";
/// Somebody whom Google knows and who has no account yet.
pub(crate) const NEWCOMER: &str = "__Host-tt_newcomer";

/// How long a browser is remembered.
pub(super) const DEVICE_LASTS: Duration = Duration::from_secs(365 * 86_400);

/// Cookies to be set.
#[derive(Debug, Default)]
pub(crate) struct Cookies(Vec<HeaderValue>);

impl Cookies {
    /// Sets one; without an age it ends with the browser.
    pub(super) fn set(mut self, name: &str, value: &str, lasts: Option<Duration>) -> Self {
        let age = lasts.map(|lasts| format!("; Max-Age={}", lasts.as_secs())).unwrap_or_default();
        let text = format!("{name}={value}; Path=/; HttpOnly; Secure; SameSite=Lax{age}");
        // Every value is made here, of letters, digits and -_. only.
        self.0.extend(HeaderValue::from_str(&text));
        self
    }

    /// Takes one away.
    pub(super) fn clear(self, name: &str) -> Self {
        self.set(name, "", Some(Duration::ZERO))
    }

    /// The values of the headers.
    pub(super) fn into_values(self) -> Vec<HeaderValue> {
        self.0
    }
}

impl IntoResponseParts for Cookies {
    type Error = Infallible;

    fn into_response_parts(self, mut response: ResponseParts) -> Result<ResponseParts, Infallible> {
        for value in self.0 {
            response.headers_mut().append(header::SET_COOKIE, value);
        }
        Ok(response)
    }
}

/// The only cookie of this name. One that comes twice was planted, and counts as none.
pub(crate) fn read(headers: &HeaderMap, name: &str) -> Option<String> {
    let mut found = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|text| Cookie::parse(text.trim().to_owned()).ok())
        .filter(|cookie| cookie.name() == name);
    let (first, second) = (found.next(), found.next());
    first.filter(|_| second.is_none()).map(|cookie| cookie.value().to_owned())
}

#[derive(Serialize, serde::Deserialize)]
struct Sealed<T> {
    until: i64,
    kept: T,
}

/// Something that a browser keeps for us and cannot change.
pub(super) fn seal<T: Serialize>(
    secrets: &MasterSecrets,
    name: &str,
    kept: &T,
    until: Timestamp,
) -> String {
    // Strings and numbers only: it always serializes.
    let json = serde_json::to_vec(&Sealed { until: until.0, kept }).unwrap_or_default();
    let body = URL_SAFE_NO_PAD.encode(json);
    let tag = secrets.sign(Purpose::Cookie, format!("{name}/{body}").as_bytes());
    format!("{body}.{tag}")
}

/// What was sealed under this name, if its time is not over.
pub(super) fn open<T: DeserializeOwned>(
    secrets: &MasterSecrets,
    name: &str,
    value: &str,
    now: Timestamp,
) -> Option<T> {
    let (body, tag) = value.split_once('.')?;
    if !secrets.verify(Purpose::Cookie, format!("{name}/{body}").as_bytes(), tag) {
        return None;
    }
    let sealed: Sealed<T> = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(body).ok()?).ok()?;
    (now.0 < sealed.until).then_some(sealed.kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_that_comes_twice_is_none() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, "a=1; __Host-tt_session=x; b=2".parse().unwrap());
        assert_eq!(read(&headers, SESSION).as_deref(), Some("x"));
        assert_eq!(read(&headers, "a").as_deref(), Some("1"));
        assert_eq!(read(&headers, "c"), None);
        headers.append(header::COOKIE, "__Host-tt_session=y".parse().unwrap());
        assert_eq!(read(&headers, SESSION), None);
    }

    #[test]
    fn what_is_sealed_opens_unchanged_in_time_and_under_its_name() {
        let secrets = MasterSecrets::load_or_create(tempfile::tempdir().unwrap().path(), [1; 32]);
        let secrets = secrets.unwrap();
        let sealed = seal(&secrets, FLOW, &"kept", Timestamp(100));
        assert_eq!(open(&secrets, FLOW, &sealed, Timestamp(99)), Some("kept".to_owned()));
        assert_eq!(open::<String>(&secrets, FLOW, &sealed, Timestamp(100)), None);
        assert_eq!(open::<String>(&secrets, NEWCOMER, &sealed, Timestamp(99)), None);
        assert_eq!(open::<String>(&secrets, FLOW, &sealed[1..], Timestamp(99)), None);
        assert_eq!(open::<String>(&secrets, FLOW, "", Timestamp(99)), None);
    }

    #[test]
    fn every_cookie_is_for_this_host_and_for_no_script() {
        let values = Cookies::default().set(SESSION, "x", None).clear(FLOW).into_values();
        let texts: Vec<&str> = values.iter().map(|value| value.to_str().unwrap()).collect();
        assert_eq!(
            texts,
            [
                "__Host-tt_session=x; Path=/; HttpOnly; Secure; SameSite=Lax",
                "__Host-tt_google=; Path=/; HttpOnly; Secure; SameSite=Lax; Max-Age=0",
            ]
        );
    }
}
