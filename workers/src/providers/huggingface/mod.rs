//! Hugging Face Inference Providers: one router in front of many providers, each with its own API.
//!
//! | file | what |
//! |---|---|
//! | `mapping` | who serves a model, as the hub says |
//! | `route` | where a call goes, and what it says |
//! | `read` | what is answered: media, or a call to look at |
//! | `errors` | what an error means |
//!
//! Some providers answer with the media itself, others with a call that is looked at until it is
//! done; either way everything goes through the router, and our token nowhere else. There is no
//! idempotency key, no callback, no cancel, and no way to find a call by a name of ours: an answer
//! that is lost stays lost. Nothing is stored here; where a call is looked at is kept with its
//! attempt.

mod errors;
mod mapping;
mod read;
mod route;
#[cfg(test)]
mod tests;

use std::time::Duration;

use async_trait::async_trait;
use config::{
    clock::Clock,
    net::{self, Origins, Timeouts},
    settings::{self, BaseUrl},
};
use entities::{Timestamp, job::Usage};
use http::{HeaderMap, HeaderValue, header};
use reqwest::{Client, RequestBuilder};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};

use self::{
    errors::Lost,
    mapping::Mappings,
    read::{Began, Stands},
    route::{ModelName, Via},
};
use super::{
    Accepted, Artifact, Call, Callback, CancelOutcome, Capabilities, Finished, Polled, Provider,
    Refusal, Submitted, answer::Answer,
};
use crate::retry::Retries;

/// Its name in the catalogue, in metrics and in attempts.
pub const NAME: &str = "huggingface";

/// The longest that one call may take: some answer only when the picture is made.
const CALL: Duration = Duration::from_secs(35);
/// With the question to the hub before it.
const SUBMIT: Duration = Duration::from_secs(44);
/// The largest answer that is read: pictures can be in it.
const LARGEST: usize = 64 * 1024 * 1024;
/// How soon a call is looked at first.
const FIRST_LOOK: Duration = Duration::from_secs(1);
/// A call may not be known to every server at once.
const YOUNG: Duration = Duration::from_secs(60);

/// Why the provider cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HuggingFaceError {
    /// There is no token.
    #[error("HF_TOKEN is not set")]
    NoToken,
    /// The token cannot be a token.
    #[error("HF_TOKEN has characters that cannot be sent")]
    BadToken,
    /// There is no HTTP client.
    #[error(transparent)]
    Client(#[from] net::ClientError),
}

/// Hugging Face.
pub struct HuggingFaceProvider {
    client: Client,
    router: BaseUrl,
    authorization: HeaderValue,
    mappings: Mappings,
    media: Origins,
    clock: Clock,
    retries: Retries,
}

/// What is kept with an attempt.
#[derive(Debug, Serialize, Deserialize)]
struct Handle {
    via: Via,
    /// Where it is looked at, after the provider's name.
    path: String,
    submitted_at: Timestamp,
    /// The files, where the first answer had them already.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    files: Vec<String>,
}

impl HuggingFaceProvider {
    /// The provider of these settings.
    ///
    /// # Errors
    /// See [`HuggingFaceError`].
    pub fn new(settings: &settings::Providers, clock: Clock) -> Result<Self, HuggingFaceError> {
        let token = settings.hf_token.as_ref().ok_or(HuggingFaceError::NoToken)?.expose_secret();
        let mut authorization = HeaderValue::from_str(&format!("Bearer {token}"))
            .map_err(|_| HuggingFaceError::BadToken)?;
        authorization.set_sensitive(true);
        let client = net::client(Timeouts::call(CALL))?;
        let hub = settings.hf_hub_url.clone();
        let retries = Retries::new(NAME);
        Ok(Self {
            mappings: Mappings::new(client.clone(), hub, clock.clone(), retries.clone()),
            client,
            router: settings.hf_url.clone(),
            authorization,
            media: settings.hf_media_hosts.clone(),
            clock,
            retries,
        })
    }

    async fn ask(&self, request: RequestBuilder) -> Result<Answer, Refusal> {
        let request = request.header(header::AUTHORIZATION, self.authorization.clone());
        Answer::to(request, LARGEST).await
    }

    /// Reads `path` of a provider, through the router.
    async fn get(&self, via: Via, path: &str, end: &str) -> Result<Answer, Refusal> {
        let query = if via == Via::FalAi { "?_subdomain=queue" } else { "" };
        let path = read::kept_path(path)?;
        let url = self.router.at(&format!("/{}{path}{end}{query}", via.name()));
        self.ask(self.client.get(url)).await
    }

    fn accepted(&self, via: Via, id: &str, path: String, files: Vec<String>) -> Accepted {
        let poll_after = if files.is_empty() { FIRST_LOOK } else { Duration::ZERO };
        let handle = Handle { via, path, submitted_at: self.clock.now(), files };
        Accepted {
            request_id: format!("{}:{id}", via.name()),
            handle: serde_json::to_value(handle).unwrap_or_default(),
            poll_after,
        }
    }

    /// The result of a completed fal.ai call is read by itself, and can be an error.
    async fn result(&self, call: &Call, handle: &Handle) -> Result<Polled, Refusal> {
        let answer = self.get(handle.via, &handle.path, "").await?;
        if !answer.status.is_success() {
            return self.lost(handle, errors::of_result(&answer));
        }
        Ok(match read::result(&answer) {
            Ok(media) => Polled::Finished(finished(call, media)),
            Err(refusal) => Polled::Failed(refusal, Usage::UNKNOWN),
        })
    }

    fn lost(&self, handle: &Handle, lost: Lost) -> Result<Polled, Refusal> {
        let young = self.clock.now().since(handle.submitted_at) < YOUNG;
        match lost {
            Lost::LookAgain(refusal) => Err(refusal),
            Lost::Gone(refusal) if young => Err(refusal),
            Lost::Gone(refusal) | Lost::Failed(refusal) => {
                Ok(Polled::Failed(refusal, Usage::UNKNOWN))
            }
        }
    }

    /// When to look again: after about a tenth of the time that it has taken so far.
    fn next_look(&self, handle: &Handle) -> Duration {
        let since = self.clock.now().since(handle.submitted_at);
        (since / 10).clamp(Duration::from_millis(500), Duration::from_secs(15))
    }
}

#[async_trait]
impl Provider for HuggingFaceProvider {
    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { recovers_lost_answers: false, rereads_results: true }
    }

    fn retries(&self) -> &Retries {
        &self.retries
    }

    fn submit_timeout(&self) -> Duration {
        SUBMIT
    }

    async fn submit(&self, call: &Call) -> Result<Submitted, Refusal> {
        let name = ModelName::parse(&call.provider_model)?;
        let outgoing =
            self.mappings.target(&name, &self.authorization).await?.outgoing(&call.input)?;
        let mut request = self.client.post(self.router.at(&outgoing.path)).json(&outgoing.body);
        for (header, value) in outgoing.headers {
            request = request.header(header, value);
        }
        let answer = self.ask(request).await?;
        if !answer.status.is_success() {
            let refusal = errors::at_submit(&answer);
            if matches!(refusal, Refusal::Unavailable(_)) {
                self.mappings.forget(&name);
            }
            return Err(refusal);
        }
        Ok(match read::submitted(name.via, &answer)? {
            Began::Media(media) => Submitted::Finished(finished(call, media)),
            Began::Runs { id, path } => {
                Submitted::Accepted(self.accepted(name.via, &id, path, Vec::new()))
            }
            // It is read from what is kept, so that a file that does not come can be asked for
            // again.
            Began::Done { id, path, files } => {
                Submitted::Accepted(self.accepted(name.via, &id, path, files))
            }
        })
    }

    async fn poll(&self, call: &Call, accepted: &Accepted) -> Result<Polled, Refusal> {
        let handle = Handle::deserialize(&accepted.handle)
            .map_err(|_| Refusal::Unknown("there is no such call".to_owned()))?;
        if let Some(media) = read::at(&handle.files) {
            return Ok(Polled::Finished(finished(call, media)));
        }
        let end = if handle.via == Via::FalAi { "/status" } else { "" };
        let answer = self.get(handle.via, &handle.path, end).await?;
        if !answer.status.is_success() {
            return self.lost(&handle, errors::at_look(&answer));
        }
        match read::looked(handle.via, &answer)? {
            Stands::Running { progress } => {
                Ok(Polled::Running { progress, poll_after: self.next_look(&handle) })
            }
            Stands::Completed => self.result(call, &handle).await,
            Stands::Media(media) => Ok(Polled::Finished(finished(call, media))),
            Stands::Canceled => Ok(Polled::Canceled),
            Stands::Failed(refusal) => Ok(Polled::Failed(refusal, Usage::UNKNOWN)),
        }
    }

    /// The router has no such call.
    async fn cancel(&self, _call: &Call, _accepted: &Accepted) -> Result<CancelOutcome, Refusal> {
        Ok(CancelOutcome::NotCanceled)
    }

    fn media_origins(&self) -> &Origins {
        &self.media
    }

    async fn callback(
        &self,
        _call: &Call,
        _accepted: Option<&Accepted>,
        _headers: &HeaderMap,
        _body: &[u8],
        _arrived_at: Timestamp,
    ) -> Callback {
        Callback::Ignored("Hugging Face sends no callbacks".to_owned())
    }

    async fn lookup(&self, _call: &Call) -> Result<Option<Accepted>, Refusal> {
        Ok(None)
    }
}

/// Nobody tells us what a call cost, so that the route's price of one file is booked.
fn finished(call: &Call, artifacts: Vec<Artifact>) -> Finished {
    let count = i64::try_from(artifacts.len()).unwrap_or(i64::MAX);
    let usage = Usage {
        cost_usd_micros: call.unit_usd_micros.map(|unit| unit.saturating_mul(count)),
        billed_units_micros: call.unit_usd_micros.map(|_| count.saturating_mul(1_000_000)),
    };
    Finished { artifacts, usage }
}
