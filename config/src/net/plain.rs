//! One guarded request in the types of the `http` crate, for libraries that bring their own
//! protocol and want somebody to carry it.

use std::time::Duration;

use reqwest::Client;

use super::{
    Timeouts,
    client::{self, ClientError, Unanswered},
};

/// The longest answer that is read.
const MOST: usize = 1 << 20;

/// Carries requests. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Plain {
    client: Client,
}

impl Plain {
    /// A guarded client whose requests are answered within this time.
    ///
    /// # Errors
    /// When the client cannot be made.
    pub fn new(within: Duration) -> Result<Self, ClientError> {
        Ok(Self { client: client::client(Timeouts::call(within))? })
    }

    /// Sends the request; no redirect is followed.
    ///
    /// # Errors
    /// When no answer came, or one that is too long.
    pub async fn send(
        &self,
        request: http::Request<Vec<u8>>,
    ) -> Result<http::Response<Vec<u8>>, Unanswered> {
        let response = self.client.execute(reqwest::Request::try_from(request)?).await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = client::read(response, MOST).await?;
        let mut answer = http::Response::new(body.to_vec());
        *answer.status_mut() = status;
        *answer.headers_mut() = headers;
        Ok(answer)
    }
}
