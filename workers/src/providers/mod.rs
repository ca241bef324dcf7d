//! The one trait that every provider stands behind, and what it may answer.
//!
//! An adapter decides an error where it arises and says one of [`Refusal`]; everything after that
//! (retry, another route, uncertain, release) is decided by the worker from that word alone.

mod answer;
#[cfg(test)]
mod conformance;
pub mod demo;
pub mod fal;
pub mod huggingface;
pub mod kie;
mod media;

use std::{num::NonZeroU32, time::Duration};

use async_trait::async_trait;
use config::net::{Origins, Unanswered};
use entities::{Timestamp, ids::AttemptId, job::Usage, privacy::CopyFate};
use http::HeaderMap;
use url::Url;

pub use media::{Artifact, ArtifactSource, Finished, InputFile};

use crate::retry::Retries;

/// What is asked of a provider: one attempt of one job on one route.
#[derive(Debug, Clone)]
pub struct Call {
    /// Our name for this call; goes into the callback URL.
    pub attempt_id: AttemptId,
    /// The provider's own name of the model.
    pub provider_model: String,
    /// The input, already mapped to the provider's field names.
    pub input: serde_json::Value,
    /// Where the provider may report to, if it can.
    pub callback_url: Option<Url>,
    /// The provider need not start after this.
    pub deadline: Timestamp,
    /// What one of the provider's billing units costs us, in millionths of a US dollar.
    pub unit_usd_micros: Option<i64>,
}

/// A call that the provider accepted.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// The provider's id of it, unique at that provider.
    pub request_id: String,
    /// Anything else that later calls need (URLs that the provider returned, …).
    pub handle: serde_json::Value,
    /// When to look first.
    pub poll_after: Duration,
}

/// The answer to a submit that went through.
#[derive(Debug)]
pub enum Submitted {
    /// It runs at the provider; poll it by its id.
    Accepted(Accepted),
    /// The result came at once.
    Finished(Finished),
}

/// What a look at a running call showed.
#[derive(Debug)]
pub enum Polled {
    /// Not done yet.
    Running {
        /// 0 to 1, where the provider says.
        progress: Option<f64>,
        /// When to look again.
        poll_after: Duration,
    },
    /// The provider was not asked: our own limit on looks left no room. It is none of the looks that
    /// a pool paces: a callback may have called for this one.
    NotAsked {
        /// When there is room.
        retry_after: Duration,
    },
    /// Done; here is the media.
    Finished(Finished),
    /// The provider confirms that it was canceled.
    Canceled,
    /// It ended without a result, which may have cost us all the same.
    Failed(Refusal, Usage),
}

/// What came of asking the provider to cancel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelOutcome {
    /// It is canceled for sure.
    Canceled,
    /// It was asked to; the next poll tells.
    Requested,
    /// It is too late, or the provider cannot cancel: the job goes on.
    NotCanceled,
}

/// Why a call brought nothing, in the words that the rest of the platform acts on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The user's input is at fault; the text is for the user.
    #[error("rejected: {0}")]
    Rejected(String),
    /// The provider's content rules refused it.
    #[error("moderated")]
    Moderated,
    /// Too many calls; the provider did not accept this one.
    #[error("throttled")]
    Throttled {
        /// When it may be tried again, where the provider says.
        retry_after: Option<Duration>,
    },
    /// Proof that the provider did not accept it (nothing was sent, or its contract says so).
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// Sent, but no verdict: it may have been accepted.
    #[error("unknown: {0}")]
    Unknown(String),
    /// The same, and the provider asks to be left alone meanwhile.
    #[error("unknown: {words}")]
    Busy {
        /// What it said.
        words: String,
        /// For so long.
        retry_after: Duration,
    },
    /// Our account at the provider is at fault; an operator must act.
    #[error("account: {0}")]
    Account(String),
}

impl From<Unanswered> for Refusal {
    fn from(error: Unanswered) -> Self {
        match error {
            Unanswered::NotSent(text) => Self::Unavailable(text),
            Unanswered::Unknown(text) => Self::Unknown(text),
        }
    }
}

/// What a stored callback is good for.
#[derive(Debug, Clone)]
pub enum Callback {
    /// Something happened: the job should be looked at now. Nothing that the callback says is
    /// believed; the look asks the provider.
    WakeUp,
    /// The provider proves, by its signature, that this call was accepted: the uncertain job can
    /// be bound to it.
    Bound(Accepted),
    /// It is good for nothing, and this is why.
    Ignored(String),
    /// It could not be checked now (the provider's keys could not be read, …). Worth another try
    /// while the job is uncertain.
    Later(String),
}

/// A limit on submits that all processes keep together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// What the limit is called where processes keep it.
    pub name: &'static str,
    /// So many submits.
    pub count: NonZeroU32,
    /// Within this time.
    pub per: Duration,
    /// How long room that was granted may wait for its submit.
    pub slack: Duration,
}

/// What a provider can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// A lost answer can be cleared up later (by a callback or by [`Provider::lookup`]).
    pub recovers_lost_answers: bool,
    /// A finished result can be read again by its id.
    pub rereads_results: bool,
}

/// A provider of media generation.
#[async_trait]
pub trait Provider: Send + Sync + 'static {
    /// Its name in the catalogue, in metrics and in a job's attempts.
    fn name(&self) -> &'static str;

    /// What it can do.
    fn capabilities(&self) -> Capabilities;

    /// The budget for repeating what is safe to repeat.
    fn retries(&self) -> &Retries;

    /// Whether its failures say something about its health.
    fn feeds_breakers(&self) -> bool {
        true
    }

    /// Whether looks need the input again, with its media: for a provider that runs here and keeps
    /// nothing.
    fn rereads_input(&self) -> bool {
        false
    }

    /// Puts a file where the provider keeps it for a while, for a call to come; answers with its
    /// place. Nothing is bought by that, and it is safe to repeat.
    ///
    /// # Errors
    /// When it was not taken, or the provider takes none.
    async fn upload(&self, _file: &InputFile) -> Result<Url, Refusal> {
        Err(Refusal::Unavailable("the provider takes no files".to_owned()))
    }

    /// How often all processes together may look at calls within a second, where the provider says.
    fn looks_per_second(&self) -> Option<f64> {
        None
    }

    /// How often all processes together may submit, where the provider says. The worker asks for
    /// room before it claims a job, so that a job that has to wait is not taken from the queue.
    fn pace(&self) -> Option<Pace> {
        None
    }

    /// The longest that one submit may take; a worker needs a lease longer than this.
    fn submit_timeout(&self) -> Duration;

    /// Submits the call, once: it follows no redirect and retries nothing.
    ///
    /// # Errors
    /// A [`Refusal`]; `Unknown` whenever the call may have been accepted.
    async fn submit(&self, call: &Call) -> Result<Submitted, Refusal>;

    /// Looks at an accepted call. Safe to repeat.
    ///
    /// # Errors
    /// When the look itself failed; the call may still be running.
    async fn poll(&self, call: &Call, accepted: &Accepted) -> Result<Polled, Refusal>;

    /// Asks the provider to cancel an accepted call. Safe to repeat.
    ///
    /// # Errors
    /// When the question itself failed.
    async fn cancel(&self, call: &Call, accepted: &Accepted) -> Result<CancelOutcome, Refusal>;

    /// Where its media may be read from. Nowhere, unless the provider says so.
    fn media_origins(&self) -> &Origins {
        const { &Origins::NONE }
    }

    /// Judges a callback that came to the address of `call` with the right MAC and was stored as
    /// it came: `headers` and the raw `body`, at `arrived_at`. `accepted` is what is known of the
    /// call; `None` means that its answer was lost and the job is uncertain.
    ///
    /// The MAC proves only that the caller knows the address. So a callback is never the source
    /// of a result: at most it wakes the poll loop, or, if the provider has signed it, binds the
    /// provider's id to the call. Safe to repeat: callbacks come late, twice, or never.
    async fn callback(
        &self,
        call: &Call,
        accepted: Option<&Accepted>,
        headers: &HeaderMap,
        body: &[u8],
        arrived_at: Timestamp,
    ) -> Callback;

    /// Finds a call whose answer was lost, by our attempt id.
    ///
    /// # Errors
    /// When the look itself failed. `Ok(None)`: the provider has no such call (yet).
    async fn lookup(&self, call: &Call) -> Result<Option<Accepted>, Refusal>;

    /// Asks the provider to delete what it keeps of an accepted call, words and media, because its
    /// user has deleted their account. Safe to repeat. A provider that deletes nothing on demand
    /// says so, and its own retention ends the copy.
    ///
    /// # Errors
    /// When the question itself failed; it is asked again.
    async fn forget(&self, _request_id: &str) -> Result<CopyFate, Refusal> {
        Ok(CopyFate::Kept)
    }
}
