//! Guarded clients: TLS is rustls with ring, no redirect is followed, nothing is sent twice, the
//! environment's proxies are not used, and every wait has an end.

use std::{error::Error as _, time::Duration};

use bytes::{Bytes, BytesMut};
use reqwest::{Client, Response, redirect};

/// What we call ourselves: some services refuse clients that do not say who they are.
const USER_AGENT: &str = concat!("tiktomato/", env!("CARGO_PKG_VERSION"));

/// How long a client waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For the name, the connection and TLS.
    pub connect: Duration,
    /// For the next part of an answer.
    pub silence: Duration,
    /// For everything together.
    pub total: Duration,
}

impl Timeouts {
    /// For calls of an API that are answered within `total`.
    #[must_use]
    pub fn call(total: Duration) -> Self {
        Self { connect: (total / 3).min(Duration::from_secs(10)), silence: total, total }
    }
}

/// A client could not be made.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client cannot be set up: {0}")]
pub struct ClientError(String);

/// What became of a request that brought no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    /// Proof that none of it was sent: the name, the connection or TLS failed before.
    #[error("{0}")]
    NotSent(String),
    /// It may have arrived.
    #[error("{0}")]
    Unknown(String),
}

impl From<reqwest::Error> for Unanswered {
    fn from(error: reqwest::Error) -> Self {
        // Before the connection stands no byte is sent; what cannot be built is not sent either.
        let unsent = error.is_connect() || error.is_builder();
        let text = words(error);
        if unsent { Self::NotSent(text) } else { Self::Unknown(text) }
    }
}

/// The error and its causes in one line, without the URL: a URL may hold a secret.
pub(super) fn words(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Makes a guarded client.
///
/// # Errors
/// When TLS cannot be set up.
#[expect(clippy::disallowed_methods, reason = "this is the place that makes guarded clients")]
pub fn client(timeouts: Timeouts) -> Result<Client, ClientError> {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Whoever is faster installs the same one.
        drop(rustls::crypto::ring::default_provider().install_default());
    }
    Client::builder()
        .user_agent(USER_AGENT)
        .redirect(redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .referer(false)
        .connect_timeout(timeouts.connect)
        .read_timeout(timeouts.silence)
        .timeout(timeouts.total)
        .build()
        .map_err(|error| ClientError(words(error)))
}

/// The body of an answer, if it has at most `most` bytes.
///
/// # Errors
/// When it is longer, or stops coming: the request was answered, but by nothing that can be used.
pub async fn read(mut response: Response, most: usize) -> Result<Bytes, Unanswered> {
    let mut body = BytesMut::new();
    while let Some(part) = response.chunk().await? {
        if body.len() + part.len() > most {
            return Err(Unanswered::Unknown(format!("the answer is longer than {most} bytes")));
        }
        body.extend_from_slice(&part);
    }
    Ok(body.freeze())
}
