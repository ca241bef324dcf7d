//! kie.ai, by its market API: create a task, look at it until it is done.
//!
//! | file | what |
//! |---|---|
//! | `look` | looks at a task, and whether it was created for a call |
//! | `wire` | what the service says, as types |
//! | `errors` | what an error means |
//! | `result` | media and cost of a finished task |
//! | `signature` | whether a callback's headers are the service's |
//! | `upload` | files for inputs |
//!
//! It takes 20 new tasks within 10 seconds and refuses more instead of queueing them, so room is
//! asked for first, of a limiter that all worker processes share; so it is for looks, of which it
//! answers 10 a second. It has no idempotency key and no cancel. Its callbacks prove nothing (the
//! body is not signed): they only wake us. One thing finds a call whose answer was lost: a callback
//! that names a task, if the service itself, asked with our key, shows that this task was created
//! with the address of that very call. Nothing is stored here.

mod errors;
mod look;
mod result;
mod signature;
#[cfg(test)]
mod tests;
mod upload;
mod wire;

use std::{num::NonZeroU32, time::Duration};

use async_trait::async_trait;
use config::{
    clock::Clock,
    limiter::Limiter,
    net::{self, Origins, Timeouts},
    settings::{self, BaseUrl},
};
use entities::{Timestamp, job::Usage};
use http::{HeaderMap, HeaderValue, header};
use reqwest::{Client, RequestBuilder};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use serde_json::json;
use url::Url;

use self::{
    errors::{NoTask, Verdict},
    look::{Look, next_look},
    signature::CallbackKey,
    wire::{Created, State},
};
use super::{
    Accepted, Call, Callback, CancelOutcome, Capabilities, InputFile, Pace, Polled, Provider,
    Refusal, Submitted,
    answer::{Answer, is_plain_id},
};
use crate::retry::Retries;

/// Its name in the catalogue, in metrics and in attempts.
pub const NAME: &str = "kieai";

/// The longest that one call may take.
const CALL: Duration = Duration::from_secs(25);
/// The largest answer that is read; it is JSON without media.
const LARGEST: usize = 4 * 1024 * 1024;
/// A task may not be known to every server of theirs at once.
const YOUNG: Duration = Duration::from_secs(60);

/// So many new tasks.
const TASKS: NonZeroU32 = count(20);
/// Within this time: theirs is 10 s; the rest is for calls that overtake each other on their way.
const TASKS_PER: Duration = Duration::from_secs(11);
/// How much of that rest a call may take to get out; the rest of it is for the network.
const SLACK: Duration = Duration::from_millis(700);
/// So many looks.
const LOOKS: NonZeroU32 = count(10);
/// Within this time: theirs is 1 s.
const LOOKS_PER: Duration = Duration::from_millis(1_100);

#[expect(clippy::expect_used, reason = "it is worked out when this is compiled")]
const fn count(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).expect("not zero")
}

/// Why the provider cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KieError {
    /// There is no key.
    #[error("KIE_API_KEY is not set")]
    NoKey,
    /// The key cannot be a key.
    #[error("KIE_API_KEY has characters that cannot be sent")]
    BadKey,
    /// There is no HTTP client.
    #[error(transparent)]
    Client(#[from] net::ClientError),
}

/// kie.ai.
pub struct KieProvider {
    client: Client,
    base: BaseUrl,
    /// Where files are put.
    uploads: BaseUrl,
    authorization: HeaderValue,
    media: Origins,
    /// Whether the service can call us.
    callbacks: bool,
    /// Set where callbacks carry a signature.
    callback_key: Option<CallbackKey>,
    limiter: Limiter,
    clock: Clock,
    retries: Retries,
}

/// What is kept with an attempt.
#[derive(Debug, Serialize, Deserialize)]
struct Handle {
    accepted_at: Timestamp,
}

impl KieProvider {
    /// The provider of these settings. `callbacks`: whether the service can call us.
    ///
    /// # Errors
    /// See [`KieError`].
    pub fn new(
        settings: &settings::Providers,
        callbacks: bool,
        limiter: Limiter,
        clock: Clock,
    ) -> Result<Self, KieError> {
        let key = settings.kie_api_key.as_ref().ok_or(KieError::NoKey)?.expose_secret();
        let mut authorization =
            HeaderValue::from_str(&format!("Bearer {key}")).map_err(|_| KieError::BadKey)?;
        authorization.set_sensitive(true);
        let callback_key = settings.kie_webhook_key.as_ref();
        Ok(Self {
            // It says who we are: the service refuses clients that do not.
            client: net::client(Timeouts::call(CALL))?,
            base: settings.kie_url.clone(),
            uploads: settings.kie_upload_url.clone(),
            authorization,
            media: settings.kie_media_hosts.clone(),
            callbacks,
            callback_key: callback_key.map(|key| CallbackKey::new(key.expose_secret())),
            limiter,
            clock,
            retries: Retries::new(NAME),
        })
    }

    async fn ask(&self, request: RequestBuilder) -> Result<Answer, Refusal> {
        let request = request.header(header::AUTHORIZATION, self.authorization.clone());
        Answer::to(request, LARGEST).await
    }

    fn submission(&self, call: &Call) -> RequestBuilder {
        let mut body = json!({"model": call.provider_model, "input": call.input});
        if let Some(callback) = call.callback_url.as_ref().filter(|_| self.callbacks) {
            body["callBackUrl"] = json!(callback.as_str());
        }
        self.client.post(self.base.at("/api/v1/jobs/createTask")).json(&body)
    }

    fn accepted(&self, task_id: String) -> Accepted {
        let handle = Handle { accepted_at: self.clock.now() };
        Accepted {
            request_id: task_id,
            handle: serde_json::to_value(handle).unwrap_or_default(),
            poll_after: next_look(Duration::ZERO, config::random::dice()),
        }
    }

    /// How long ago it was accepted, where that is known.
    fn age(&self, accepted: &Accepted) -> Option<Duration> {
        let handle = Handle::deserialize(&accepted.handle).ok()?;
        Some(self.clock.now().since(handle.accepted_at))
    }

    fn running(&self, accepted: &Accepted, progress: Option<f64>) -> Polled {
        let age = self.age(accepted).unwrap_or(Duration::MAX);
        Polled::Running { progress, poll_after: next_look(age, config::random::dice()) }
    }
}

#[async_trait]
impl Provider for KieProvider {
    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { recovers_lost_answers: self.callbacks, rereads_results: true }
    }

    fn looks_per_second(&self) -> Option<f64> {
        // The rest is for looks that a callback asks for.
        Some(f64::from(LOOKS.get()) / LOOKS_PER.as_secs_f64() * 0.75)
    }

    fn retries(&self) -> &Retries {
        &self.retries
    }

    fn pace(&self) -> Option<Pace> {
        Some(Pace { name: "kieai:tasks", count: TASKS, per: TASKS_PER, slack: SLACK })
    }

    fn submit_timeout(&self) -> Duration {
        CALL + Duration::from_secs(3)
    }

    async fn submit(&self, call: &Call) -> Result<Submitted, Refusal> {
        let answer = self.ask(self.submission(call)).await?;
        let verdict = errors::verdict(&answer);
        if let Verdict::Good(data) = &verdict
            && let Ok(created) = Created::deserialize(data)
            && is_plain_id(&created.task_id)
        {
            return Ok(Submitted::Accepted(self.accepted(created.task_id)));
        }
        Err(errors::at_submit(&answer, &verdict))
    }

    async fn upload(&self, file: &InputFile) -> Result<Url, Refusal> {
        self.put(file).await
    }

    async fn poll(&self, call: &Call, accepted: &Accepted) -> Result<Polled, Refusal> {
        let record = match self.record(&accepted.request_id).await? {
            Look::Task(record) => record,
            Look::NoRoom(retry_after) => return Ok(Polled::NotAsked { retry_after }),
            Look::No(NoTask::LookAgain(refusal)) => return Err(refusal),
            Look::No(NoTask::Failed(refusal)) => {
                return Ok(Polled::Failed(refusal, Usage::UNKNOWN));
            }
            Look::No(NoTask::Unknown(words)) => {
                let young = self.age(accepted).is_some_and(|age| age < YOUNG);
                let refusal = Refusal::Unknown(words);
                return if young {
                    Err(refusal)
                } else {
                    Ok(Polled::Failed(refusal, Usage::UNKNOWN))
                };
            }
        };
        let usage = result::usage(&record, call.unit_usd_micros);
        Ok(match record.state {
            Some(State::Success) => result::finished(&record, usage),
            Some(State::Fail) => Polled::Failed(errors::of_task(&record), usage),
            Some(State::Waiting | State::Queuing | State::Generating | State::Other) | None => {
                self.running(accepted, record.progress())
            }
        })
    }

    /// There is no such call.
    async fn cancel(&self, _call: &Call, _accepted: &Accepted) -> Result<CancelOutcome, Refusal> {
        Ok(CancelOutcome::NotCanceled)
    }

    fn media_origins(&self) -> &Origins {
        &self.media
    }

    async fn callback(
        &self,
        call: &Call,
        accepted: Option<&Accepted>,
        headers: &HeaderMap,
        body: &[u8],
        arrived_at: Timestamp,
    ) -> Callback {
        let Some(task_id) = wire::reported_id(body) else {
            return Callback::Ignored("it names no task".to_owned());
        };
        if let Some(key) = &self.callback_key
            && let Err(doubt) = key.verify(headers, &task_id, arrived_at)
        {
            return Callback::Ignored(doubt.to_owned());
        }
        match accepted {
            Some(accepted) if accepted.request_id == task_id => Callback::WakeUp,
            Some(_) => Callback::Ignored("it names another task".to_owned()),
            None if !is_plain_id(&task_id) => Callback::Ignored("it names no task".to_owned()),
            None => self.is_of(call, &task_id).await,
        }
    }

    /// The service cannot be asked by a name of ours; only a callback brings its own.
    async fn lookup(&self, _call: &Call) -> Result<Option<Accepted>, Refusal> {
        Ok(None)
    }
}
