//! The steps that every job takes on its way to its end, written for many jobs at once.
//!
//! On Postgres each kind of step has lanes of its own, and a lane writes whatever gathered while
//! its last group was being written, with one statement that commits by itself. What such a
//! statement does to one job is what the use case of the same name does ([`super::claim`],
//! [`super::accepted`], [`super::media_ready`], [`super::succeed`]); on SQLite, where statements
//! cost no round trip, those are what is run, in the groups of the [`Writer`].
//!
//! A job that is not as its holder believes is left alone and answered with `None`, as everywhere.
//! A statement that fails wrote nothing; its jobs are then written one by one, so that a bad one
//! hurts nobody else. Rows are locked in the order jobs, wallets, workspaces.

mod accept;
mod claim;
mod clock;
mod lanes;
mod ready;
mod succeed;

use std::{sync::Arc, time::Duration};

use sea_orm::DatabaseBackend;

use self::{
    accept::Accept,
    claim::{Claim, Taken},
    clock::DbClock,
    lanes::Lanes,
    ready::Ready,
    succeed::Succeed,
};
use super::{Acceptance, Claimed, JobRef, JobState, KnownModels, NewOutput, Usage};
use crate::{
    Db, Effects, JobHint, Timestamp, WriteError, Writer,
    ids::AttemptId,
    tables::{attempts, jobs},
};

/// How a claimed job is called: the provider and its model.
pub type RouteOf = fn(&jobs::Model) -> Option<(String, String)>;

/// Writes the steps of jobs in groups. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Steps {
    writer: Writer,
    lanes: Option<AllLanes>,
    known: KnownModels,
}

#[derive(Debug, Clone)]
struct AllLanes {
    claims: Lanes<Claim>,
    clock: Arc<DbClock>,
    accepts: Lanes<Accept>,
    readies: Lanes<Ready>,
    successes: Lanes<Succeed>,
}

impl Steps {
    /// Starts the lanes; they end with the last clone. Jobs of models that are not `known` are not
    /// claimed. Must be called inside a tokio runtime.
    #[must_use]
    pub fn start(db: &Db, writer: Writer, known: KnownModels) -> Self {
        let lanes = (db.backend() == DatabaseBackend::Postgres).then(|| AllLanes {
            claims: Lanes::start(db),
            clock: Arc::default(),
            accepts: Lanes::start(db),
            readies: Lanes::start(db),
            successes: Lanes::start(db),
        });
        Self { writer, lanes, known }
    }

    /// See [`super::claim`].
    ///
    /// # Errors
    /// When it is not known to be written.
    pub async fn claim(
        &self,
        hint: JobHint,
        attempt_id: AttemptId,
        lease: Duration,
        now: Timestamp,
        route: RouteOf,
    ) -> Result<Option<Claimed>, WriteError> {
        if let Some(lanes) = &self.lanes {
            loop {
                let clock = Arc::clone(&lanes.clock);
                let known = self.known.clone();
                let claim = Claim { hint, attempt_id, lease, now, known, clock };
                match lanes.claims.write(claim).await? {
                    Some(Taken::Late) => {}
                    Some(Taken::Claimed(claimed)) => return Ok(Some(*claimed)),
                    None => return Ok(None),
                }
            }
        }
        let known = self.known.clone();
        self.writer
            .run(hint.job_id.0, move |tx| {
                let known = known.clone();
                Box::pin(async move {
                    super::claim(tx, hint, attempt_id, lease, now, &known, route).await
                })
            })
            .await
    }

    /// See [`super::accepted`]; a job that is not ours any more is looked after by
    /// [`super::accepted_late`].
    ///
    /// # Errors
    /// When it is not known to be written.
    pub async fn accepted(
        &self,
        job: JobRef,
        acceptance: Acceptance,
        now: Timestamp,
    ) -> Result<Option<Effects>, WriteError> {
        if let Some(lanes) = &self.lanes {
            let step = Accept { job, acceptance: acceptance.clone(), now };
            if let Some(effects) = lanes.accepts.write(step).await? {
                return Ok(Some(effects));
            }
        }
        self.writer
            .run(job.workspace_id.0, move |tx| {
                let acceptance = acceptance.clone();
                Box::pin(async move {
                    match super::accepted(tx, &job, &acceptance, now).await? {
                        None => super::accepted_late(tx, job.id, &acceptance, now).await,
                        done => Ok(done),
                    }
                })
            })
            .await
    }

    /// See [`super::media_ready`] and, for an answer that brought the result, `at_once`,
    /// [`super::finished_at_once`]. Asked again, because the answer was lost, it answers with what
    /// was written then: the result that the caller holds may be nowhere else.
    ///
    /// # Errors
    /// When it is not known to be written.
    pub async fn ready(
        &self,
        job: &jobs::Model,
        attempt_id: AttemptId,
        usage: Usage,
        at_once: Option<Timestamp>,
    ) -> Result<Option<jobs::Model>, WriteError> {
        let guard = JobRef::from(job);
        if let Some(lanes) = &self.lanes {
            let step = Ready { guard, attempt_id, usage, at_once };
            if let Some(moved) = lanes.readies.write(step).await? {
                return Ok(Some(moved.apply(job.clone())));
            }
        }
        self.writer
            .run(job.workspace_id.0, move |tx| {
                Box::pin(async move {
                    let moved = match at_once {
                        Some(now) => {
                            super::finished_at_once(tx, &guard, attempt_id, usage, now).await?
                        }
                        None => super::media_ready(tx, &guard, attempt_id, usage).await?,
                    };
                    match moved {
                        None => super::changed_before(tx, &guard, JobState::Storing).await,
                        moved => Ok(moved),
                    }
                })
            })
            .await
    }

    /// See [`super::succeed`].
    ///
    /// # Errors
    /// When it is not known to be written.
    pub async fn succeed(
        &self,
        job: &jobs::Model,
        attempt: &attempts::Model,
        delivered: Vec<NewOutput>,
        now: Timestamp,
    ) -> Result<Option<Effects>, WriteError> {
        let attempt_id = attempt.id;
        if let Some(lanes) = &self.lanes
            && let Some(step) = Succeed::whole(job, attempt_id, &delivered, now)
        {
            return lanes.successes.write(step).await;
        }
        let job = job.clone();
        self.writer
            .run(job.workspace_id.0, move |tx| {
                let (job, delivered) = (job.clone(), delivered.clone());
                Box::pin(async move { super::succeed(tx, &job, attempt_id, &delivered, now).await })
            })
            .await
    }
}
