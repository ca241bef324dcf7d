//! Reading a provider's media: streamed, from allowed places only, wherever a redirect leads.

use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, stream::BoxStream};
use reqwest::{Client, Response, header};
use url::Url;

use super::{
    Origins, Timeouts, busy_for,
    client::{self, ClientError, Unanswered},
};

/// The longest chain of redirects that is followed.
const HOPS: usize = 3;

/// A video of 2 GB over a slow line.
const LONGEST: Duration = Duration::from_secs(15 * 60);

/// Why media could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// Its place is not one that may be read from.
    #[error("media may not be read from {0}")]
    Forbidden(String),
    /// It says that it is larger than allowed.
    #[error("the file has {0} bytes")]
    TooLarge(u64),
    /// It was not delivered. Worth another try.
    #[error("{0}")]
    Failed(String),
    /// Its place is busy, and says when to ask again.
    #[error("its place is busy for {} s", .0.as_secs())]
    Busy(Duration),
}

/// Reads media. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Fetcher {
    client: Client,
}

impl Fetcher {
    /// A fetcher with a client of its own, which carries no key.
    ///
    /// # Errors
    /// When the client cannot be made.
    pub fn new() -> Result<Self, ClientError> {
        let timeouts = Timeouts {
            connect: Duration::from_secs(10),
            silence: Duration::from_secs(60),
            total: LONGEST,
        };
        Ok(Self { client: client::client(timeouts)? })
    }

    /// Opens the file at `url`, which must be in an allowed place, as must every place that it
    /// redirects to, and which must not say that it has more than `most` bytes.
    ///
    /// # Errors
    /// See [`FetchError`].
    pub async fn open(
        &self,
        url: &Url,
        allowed: &Origins,
        most: u64,
    ) -> Result<BoxStream<'static, std::io::Result<Bytes>>, FetchError> {
        let response = self.follow(url.clone(), allowed).await?;
        if let Some(bytes) = response.content_length().filter(|bytes| *bytes > most) {
            return Err(FetchError::TooLarge(bytes));
        }
        let stream = response.bytes_stream();
        Ok(stream
            .map(|part| part.map_err(|error| std::io::Error::other(client::words(error))))
            .boxed())
    }

    async fn follow(&self, mut url: Url, allowed: &Origins) -> Result<Response, FetchError> {
        for _ in 0..=HOPS {
            if !allowed.allow(&url) {
                return Err(FetchError::Forbidden(url.origin().ascii_serialization()));
            }
            let asked = self.client.get(url.clone()).send().await;
            let response = asked.map_err(|error| {
                let (Unanswered::NotSent(text) | Unanswered::Unknown(text)) = error.into();
                FetchError::Failed(text)
            })?;
            let status = response.status();
            if status.is_success() {
                return Ok(response);
            }
            if let Some(wait) = busy_for(status, response.headers()) {
                return Err(FetchError::Busy(wait));
            }
            let next = response
                .headers()
                .get(header::LOCATION)
                .filter(|_| status.is_redirection())
                .and_then(|place| url.join(place.to_str().ok()?).ok());
            url = next.ok_or_else(|| FetchError::Failed(format!("answered with {status}")))?;
        }
        Err(FetchError::Failed("redirected too often".to_owned()))
    }
}
