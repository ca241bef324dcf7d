//! fal.ai, by its queue: submit, look, read the result, cancel; signed callbacks.
//!
//! | file | what |
//! |---|---|
//! | `wire` | what the service says, as types |
//! | `links` | where a request is asked about, and where the key may go |
//! | `errors` | what an error means |
//! | `result` | media and cost of a finished request |
//! | `callback` | what a callback comes to |
//! | `keys` | signatures of callbacks |
//!
//! The service has no idempotency key and no way to find a request by a name of ours. So a submit
//! whose answer is lost is never sent again, and is recovered only by a callback that fal.ai has
//! signed for our account. Nothing is stored here; the links to a request are kept with its attempt.

mod callback;
mod errors;
mod keys;
mod links;
mod result;
#[cfg(test)]
mod tests;
mod wire;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use config::{
    net::{self, Origins, Timeouts, Unanswered},
    settings::{self, BaseUrl},
};
use entities::{Timestamp, privacy::CopyFate};
use http::{HeaderMap, HeaderValue, header};
use reqwest::{Client, RequestBuilder};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::json;

use self::{
    errors::Answer,
    keys::Keys,
    links::{Endpoint, Links},
    wire::{CancelAnswer, Forgotten, Queued, State, Status},
};
use super::{
    Accepted, Call, Callback, CancelOutcome, Capabilities, Polled, Provider, Refusal, Submitted,
};
use crate::retry::Retries;

/// Its name in the catalogue, in metrics and in attempts.
pub const NAME: &str = "fal";

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The longest that one call may take.
const CALL: Duration = Duration::from_secs(25);
/// The largest answer that is read: a result is JSON, unless it has a small file in it.
const LARGEST: usize = 32 * 1024 * 1024;
/// How soon a request is looked at first.
const FIRST_LOOK: Duration = Duration::from_secs(1);
/// How long the service keeps its own copy of the media: longer than we try to fetch it.
const COPY_SECONDS: u64 = 2 * 60 * 60;

/// Why the provider cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FalError {
    /// There is no key.
    #[error("FAL_KEY is not set")]
    NoKey,
    /// The key cannot be a key.
    #[error("FAL_KEY has characters that cannot be sent")]
    BadKey,
    /// There is no HTTP client.
    #[error(transparent)]
    Client(#[from] net::ClientError),
}

/// fal.ai.
pub struct FalProvider {
    client: Client,
    base: BaseUrl,
    /// The platform API, and the key for it.
    api: BaseUrl,
    admin: HeaderValue,
    authorization: HeaderValue,
    media: Origins,
    /// Whether the service can call us.
    callbacks: bool,
    /// Set where our account's id is known: then callbacks can prove something.
    keys: Option<Keys>,
    clock: Clock,
    retries: Retries,
}

/// What is kept with an attempt.
#[derive(Debug, Serialize, Deserialize)]
struct Handle {
    #[serde(flatten)]
    links: Links,
    submitted_at: Timestamp,
}

impl FalProvider {
    /// The provider of these settings. `callbacks`: whether the service can call us.
    ///
    /// # Errors
    /// See [`FalError`].
    pub fn new(
        settings: &settings::Providers,
        callbacks: bool,
        clock: Clock,
    ) -> Result<Self, FalError> {
        let key = settings.fal_key.as_ref().ok_or(FalError::NoKey)?;
        let authorization = authorization_of(key)?;
        let admin =
            settings.fal_admin_key.as_ref().map_or(Ok(authorization.clone()), authorization_of)?;
        let client = net::client(Timeouts::call(CALL))?;
        let retries = Retries::new(NAME);
        let keys = settings.fal_user_id.clone().map(|user_id| {
            let url = settings.fal_jwks_url.as_url().clone();
            Keys::new(client.clone(), url, user_id, retries.clone())
        });
        Ok(Self {
            client,
            base: settings.fal_url.clone(),
            api: settings.fal_api_url.clone(),
            admin,
            authorization,
            media: settings.fal_media_hosts.clone(),
            callbacks,
            keys,
            clock,
            retries,
        })
    }

    fn endpoint<'a>(&'a self, call: &'a Call) -> Result<Endpoint<'a>, Refusal> {
        Endpoint::new(&self.base, &call.provider_model)
    }

    async fn ask(&self, request: RequestBuilder) -> Result<Answer, Refusal> {
        self.ask_as(request, self.authorization.clone()).await
    }

    async fn ask_as(&self, request: RequestBuilder, key: HeaderValue) -> Result<Answer, Refusal> {
        let response =
            request.header(header::AUTHORIZATION, key).send().await.map_err(Unanswered::from)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = net::read(response, LARGEST).await?;
        Ok(Answer { status, headers, body })
    }

    fn submission(&self, call: &Call) -> Result<RequestBuilder, Refusal> {
        let mut url = self.endpoint(call)?.submit()?;
        if let Some(callback) = call.callback_url.as_ref().filter(|_| self.callbacks) {
            url.query_pairs_mut().append_pair("fal_webhook", callback.as_str());
        }
        // What has not started then would not end in time either.
        let left = call.deadline.since((self.clock)()).mul_f64(0.9).as_secs().max(1);
        let lifecycle = json!({"expiration_duration_seconds": COPY_SECONDS});
        Ok(self
            .client
            .post(url)
            .header("x-fal-request-start-timeout", left)
            .header("x-fal-object-lifecycle-preference", lifecycle.to_string())
            // Our customers' prompts are not to be kept there.
            .header("x-fal-store-io", "0")
            // One call is one run, of the model that was asked for.
            .header("x-fal-no-retry", "1")
            .header("x-app-fal-disable-fallback", "1")
            .json(&call.input))
    }

    fn accepted(&self, links: Links, request_id: String) -> Accepted {
        let handle = Handle { links, submitted_at: (self.clock)() };
        Accepted {
            request_id,
            handle: serde_json::to_value(handle).unwrap_or_default(),
            poll_after: FIRST_LOOK,
        }
    }

    /// When to look again: after about a tenth of the time that it has taken so far, so that a
    /// long video is not asked about as often as a quick picture. A callback wakes us sooner.
    fn next_look(&self, accepted: &Accepted, position: Option<u64>) -> Duration {
        let since = Handle::deserialize(&accepted.handle)
            .map_or(Duration::ZERO, |handle| (self.clock)().since(handle.submitted_at));
        let queued = Duration::from_millis(position.unwrap_or(0).min(60) * 250);
        (since / 10 + queued).clamp(Duration::from_millis(500), Duration::from_secs(15))
    }
}

fn authorization_of(key: &SecretString) -> Result<HeaderValue, FalError> {
    let mut value = HeaderValue::from_str(&format!("Key {}", key.expose_secret()))
        .map_err(|_| FalError::BadKey)?;
    value.set_sensitive(true);
    Ok(value)
}

#[async_trait]
impl Provider for FalProvider {
    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            recovers_lost_answers: self.callbacks && self.keys.is_some(),
            rereads_results: true,
        }
    }

    fn retries(&self) -> &Retries {
        &self.retries
    }

    fn submit_timeout(&self) -> Duration {
        CALL + Duration::from_secs(5)
    }

    fn media_origins(&self) -> &Origins {
        &self.media
    }

    async fn submit(&self, call: &Call) -> Result<Submitted, Refusal> {
        let answer = self.ask(self.submission(call)?).await?;
        if !answer.status.is_success() {
            return Err(errors::at_submit(&answer));
        }
        // Accepted, whatever else is wrong with the answer: it must not be sent again.
        let queued: Queued = serde_json::from_slice(&answer.body)
            .map_err(|error| Refusal::Unknown(format!("the answer cannot be read: {error}")))?;
        let links = self.endpoint(call)?.links(&queued)?;
        Ok(Submitted::Accepted(self.accepted(links, queued.request_id)))
    }

    async fn poll(&self, call: &Call, accepted: &Accepted) -> Result<Polled, Refusal> {
        let links = self.endpoint(call)?.kept(&accepted.handle, &accepted.request_id)?;
        let look = self.client.get(links.status.clone()).query(&[("logs", "0")]);
        let answer = self.ask(look).await?;
        if !answer.status.is_success() {
            return Err(errors::at_look(&answer));
        }
        let status: Status = serde_json::from_slice(&answer.body)
            .map_err(|error| Refusal::Unknown(format!("the status cannot be read: {error}")))?;
        match status.status {
            State::InQueue | State::InProgress => Ok(Polled::Running {
                progress: None,
                poll_after: self.next_look(accepted, status.queue_position),
            }),
            State::Completed => self.result(call, accepted, &links, &status).await,
            State::Canceled => Ok(Polled::Canceled),
            State::Other => Err(Refusal::Unknown("the status is none that is known".to_owned())),
        }
    }

    async fn cancel(&self, call: &Call, accepted: &Accepted) -> Result<CancelOutcome, Refusal> {
        let links = self.endpoint(call)?.kept(&accepted.handle, &accepted.request_id)?;
        let answer = self.ask(self.client.put(links.cancel)).await?;
        let said: CancelAnswer = serde_json::from_slice(&answer.body).unwrap_or_default();
        let too_late = said.status.as_deref() == Some("ALREADY_COMPLETED")
            || (said.status.is_none() && said.success == Some(false));
        match answer.status.as_u16() {
            400 => Ok(CancelOutcome::NotCanceled),
            200..=299 if too_late => Ok(CancelOutcome::NotCanceled),
            // Queued or running: only the next look shows what became of it.
            200..=299 if said.status.as_deref() != Some("NOT_FOUND") => {
                Ok(CancelOutcome::Requested)
            }
            _ => Err(errors::at_look(&answer)),
        }
    }

    async fn callback(
        &self,
        call: &Call,
        accepted: Option<&Accepted>,
        headers: &HeaderMap,
        body: &[u8],
        arrived_at: Timestamp,
    ) -> Callback {
        self.heard(call, accepted, headers, body, arrived_at).await
    }

    async fn lookup(&self, _call: &Call) -> Result<Option<Accepted>, Refusal> {
        // There is no such question; a signed callback brings the id.
        Ok(None)
    }

    async fn forget(&self, request_id: &str) -> Result<CopyFate, Refusal> {
        let url = links::payloads(&self.api, request_id)?;
        let key = self.admin.clone();
        let answer = self.ask_as(self.client.delete(url), key).await?;
        match answer.status.as_u16() {
            200..=299 => {
                let told: Forgotten = serde_json::from_slice(&answer.body).unwrap_or_default();
                match told.left() {
                    0 => Ok(CopyFate::Deleted),
                    files => Err(Refusal::Unknown(format!("{files} file(s) were not deleted"))),
                }
            }
            404 => Ok(CopyFate::Deleted),
            401 | 403 => Err(Refusal::Account(
                "fal.ai deletes payloads only for an admin key (setting providers.fal_admin_key)"
                    .to_owned(),
            )),
            _ => Err(errors::at_look(&answer)),
        }
    }
}
