//! What the parts of one pool share.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use config::{context::Context, media::MediaError, net::Fetcher};
use entities::{
    Effects, Timestamp, WriteError,
    job::{AttemptOutcome, Ending, Failure, JobRef, Usage, end, note_usage},
    tables::{attempts, jobs},
};
use futures::future::BoxFuture;
use sea_orm::{DatabaseTransaction, DbErr};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::cadence::Cadence;
use crate::providers::{Accepted, Call, Provider, Refusal};

/// How soon a change is written again after the database was away.
const AGAIN: Duration = Duration::from_millis(200);

/// One pool's context, provider and timing. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Engine {
    pub(crate) context: Context,
    pub(crate) provider: Arc<dyn Provider>,
    pub(crate) pool: Arc<str>,
    pub(crate) lease: Duration,
    pub(crate) fetcher: Fetcher,
    /// Rung when a job of this process is due sooner than the poll loop expects.
    pub(crate) due: Arc<Notify>,
    /// Says when to look again.
    pub(crate) cadence: Arc<Cadence>,
}

/// Why a worker stops working on a job; the job's lease or the sweep brings it back.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WorkError {
    #[error("the database failed: {0}")]
    Write(#[from] WriteError),
    #[error("the job's stored routes cannot be read: {0}")]
    Routes(String),
    #[error("the media of the job's input is gone")]
    InputGone,
    #[error("the media of the job's input cannot be read: {0}")]
    Media(#[from] MediaError),
    #[error("the media of the job's input was not handed to the provider: {0}")]
    NotHandedOver(Refusal),
    /// The fault is ours: it says nothing about the provider.
    #[error("the media of the job's input cannot be handed over: {0}")]
    NotReady(String),
    #[error("the job has no attempt")]
    NoAttempt,
}

impl From<DbErr> for WorkError {
    fn from(error: DbErr) -> Self {
        Self::Write(error.into())
    }
}

impl Engine {
    pub(crate) fn now(&self) -> Timestamp {
        self.context.clock.now()
    }

    /// A number in 0..1 for jitter.
    pub(crate) fn dice() -> f64 {
        config::random::dice()
    }

    /// Writes a state change, again and again while the database is away: what a provider answered
    /// must not be lost with it. Once the lease has run out the job is somebody else's.
    pub(crate) async fn write<T, F>(&self, key: Uuid, work: F) -> Result<T, WriteError>
    where
        F: for<'t> Fn(&'t DatabaseTransaction) -> BoxFuture<'t, Result<T, DbErr>>
            + Send
            + Sync
            + 'static,
        T: Send + 'static,
    {
        let work = Arc::new(work);
        Self::until_written(self.lease, || {
            let again = Arc::clone(&work);
            self.context.writer.run(key, move |tx| again(tx))
        })
        .await
    }

    /// Tries to write something again and again while the database is away, for as long as it is
    /// worth something.
    pub(crate) async fn until_written<T, W>(
        limit: Duration,
        mut write: impl FnMut() -> W,
    ) -> Result<T, WriteError>
    where
        W: Future<Output = Result<T, WriteError>>,
    {
        let began = Instant::now();
        loop {
            match write().await {
                Err(error) if error.may_pass() && began.elapsed() < limit => {
                    tracing::debug!(%error, "a change of a job waits for the database");
                    tokio::time::sleep(AGAIN).await;
                }
                done => return done,
            }
        }
    }

    /// Runs one state change and performs its effects. `false`: someone else was first.
    pub(crate) async fn change<F>(&self, job: &jobs::Model, work: F) -> Result<bool, WorkError>
    where
        F: for<'t> Fn(&'t DatabaseTransaction) -> BoxFuture<'t, Result<Option<Effects>, DbErr>>
            + Send
            + Sync
            + 'static,
    {
        let effects = self.write(job.workspace_id.0, work).await?;
        let done = effects.is_some();
        if let Some(effects) = effects {
            self.context.perform(effects);
        }
        Ok(done)
    }

    /// Ends the job without a result.
    pub(crate) async fn end(
        &self,
        job: &jobs::Model,
        attempt: &attempts::Model,
        outcome: AttemptOutcome,
        ending: Ending,
    ) -> Result<bool, WorkError> {
        let (guard, attempt_id, now) = (JobRef::from(job), attempt.id, self.now());
        self.change(job, move |tx| {
            let ending = ending.clone();
            Box::pin(
                async move { end(tx, &guard, Some((attempt_id, outcome)), &ending, now).await },
            )
        })
        .await
    }

    /// Ends the job without a result, and records what the call used nevertheless.
    pub(crate) async fn end_used(
        &self,
        job: &jobs::Model,
        attempt: &attempts::Model,
        outcome: AttemptOutcome,
        ending: Ending,
        usage: Usage,
    ) -> Result<(), WorkError> {
        self.note_usage(job, attempt, usage).await?;
        self.end(job, attempt, outcome, ending).await.map(drop)
    }

    /// Records what a call used, whatever became of its job.
    pub(crate) async fn note_usage(
        &self,
        job: &jobs::Model,
        attempt: &attempts::Model,
        usage: Usage,
    ) -> Result<(), WorkError> {
        if usage == Usage::UNKNOWN {
            return Ok(());
        }
        let attempt_id = attempt.id;
        let noted = self.write(job.workspace_id.0, move |tx| {
            Box::pin(async move { note_usage(tx, attempt_id, usage).await })
        });
        noted.await?;
        self.count_cost(attempt, usage);
        Ok(())
    }

    /// Counts what a call cost us, as far as the provider says.
    pub(crate) fn count_cost(&self, attempt: &attempts::Model, usage: Usage) {
        if let Some(cost) = usage.cost_usd_micros {
            let model = &attempt.provider_model;
            self.context.metrics.provider_cost(self.provider.name(), model, cost);
        }
    }

    /// The call that `attempt` stands for, its media readable for the provider.
    pub(crate) async fn call(
        &self,
        job: &jobs::Model,
        attempt: &attempts::Model,
    ) -> Result<Call, WorkError> {
        let mut call = self.bare_call(job, attempt)?;
        let route = route(job, attempt.route)?;
        self.readable(job, &route, &mut call.input).await?;
        Ok(call)
    }

    /// The same for looks at it: its media is handed over again only to who reads it again.
    pub(crate) async fn call_again(
        &self,
        job: &jobs::Model,
        attempt: &attempts::Model,
    ) -> Result<Call, WorkError> {
        match self.provider.rereads_input() {
            true => self.call(job, attempt).await,
            false => self.bare_call(job, attempt),
        }
    }

    /// The same with the ids of uploads in place of media.
    pub(crate) fn bare_call(
        &self,
        job: &jobs::Model,
        attempt: &attempts::Model,
    ) -> Result<Call, WorkError> {
        let route = route(job, attempt.route)?;
        Ok(Call {
            attempt_id: attempt.id,
            provider_model: attempt.provider_model.clone(),
            input: route.input,
            callback_url: self.context.callbacks.url(self.provider.name(), attempt.id),
            unit_usd_micros: route.unit_usd_micros,
            deadline: job.run_deadline.unwrap_or(job.queue_deadline),
        })
    }
}

/// What was resolved when the job was submitted.
pub(crate) fn resolved(job: &jobs::Model) -> Result<entities::catalogue::Resolved, WorkError> {
    serde_json::from_value(job.resolved.clone())
        .map_err(|error| WorkError::Routes(error.to_string()))
}

/// A route as it was resolved when the job was submitted.
pub(crate) fn route(
    job: &jobs::Model,
    index: i32,
) -> Result<entities::catalogue::ResolvedRoute, WorkError> {
    let resolved = resolved(job)?;
    usize::try_from(index)
        .ok()
        .and_then(|index| resolved.routes.into_iter().nth(index))
        .ok_or_else(|| WorkError::Routes(format!("there is no route {index}")))
}

/// The provider's call that was accepted, as the attempt remembers it.
pub(crate) fn accepted_of(attempt: &attempts::Model) -> Option<Accepted> {
    Some(Accepted {
        request_id: attempt.request_id.clone()?,
        handle: attempt.handle.clone().unwrap_or(serde_json::Value::Null),
        poll_after: Duration::ZERO,
    })
}

/// How an attempt that was refused ended.
pub(crate) fn outcome_of(refusal: &Refusal) -> AttemptOutcome {
    match refusal {
        Refusal::Rejected(_) => AttemptOutcome::Rejected,
        Refusal::Moderated => AttemptOutcome::Moderated,
        Refusal::Throttled { .. } => AttemptOutcome::Throttled,
        Refusal::Unavailable(_) => AttemptOutcome::Unavailable,
        Refusal::Unknown(_) | Refusal::Busy { .. } => AttemptOutcome::Unknown,
        Refusal::Account(_) => AttemptOutcome::Account,
    }
}

/// What the user reads when a refusal ends the job. A provider's own words stay in the log, except
/// those about the user's input.
pub(crate) fn failure_of(refusal: &Refusal) -> Failure {
    let (code, detail) = match refusal {
        Refusal::Rejected(detail) => ("rejected", detail.as_str()),
        Refusal::Moderated => (
            "moderated",
            "The provider's content rules refused this. Nothing was charged; please change the prompt.",
        ),
        Refusal::Throttled { .. } | Refusal::Unavailable(_) | Refusal::Account(_) => (
            "provider_unavailable",
            "The provider could not take the job. Nothing was charged; please try again later.",
        ),
        Refusal::Unknown(_) | Refusal::Busy { .. } => (
            "provider_failed",
            "The provider could not finish the job. Nothing was charged; please try again.",
        ),
    };
    Failure { code, detail: detail.to_owned() }
}
