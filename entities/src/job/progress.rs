//! What a worker learns about a job that is not yet its end.

use std::time::Duration;

use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, NotSet, QueryFilter,
};
use serde_json::Value as Json;

use super::{
    AttemptOutcome, JobRef, JobState, Usage,
    guarded::{Shows, change},
    policy, settle,
};
use crate::{
    Effects, Timestamp,
    ids::AttemptId,
    tables::{attempts, jobs},
};

/// The provider's answer to an accepted call.
#[derive(Debug, Clone)]
pub struct Acceptance {
    /// Our call.
    pub attempt_id: AttemptId,
    /// The provider's id of it.
    pub request_id: String,
    /// What later calls need besides the id.
    pub handle: Json,
    /// When to look first.
    pub poll_after: Duration,
}

/// Why a job goes back to the queue; the provider surely did not accept the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HandBack {
    /// The call.
    pub attempt_id: AttemptId,
    /// How it ended.
    pub outcome: AttemptOutcome,
    /// Not dispatched again before this time has passed.
    pub wait: Duration,
    /// The route to take next.
    pub route: i32,
    /// Whether it counts as a proven refusal.
    pub counts: bool,
}

/// What a look at the provider brought when the call has not ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Look {
    /// It runs.
    Running {
        /// How far it is, 0 to 1, if the provider says so.
        progress: Option<f64>,
    },
    /// No answer, or none that says anything of the call.
    InVain,
}

/// submitting -> running: the provider's id is stored. `None`: someone else was first.
///
/// # Errors
/// When the database fails.
pub async fn accepted(
    db: &impl ConnectionTrait,
    job: &JobRef,
    acceptance: &Acceptance,
    now: Timestamp,
) -> Result<Option<Effects>, DbErr> {
    let changed = change(
        db,
        job,
        JobState::Running,
        Shows::Yes,
        jobs::ActiveModel {
            lease_until: Set(None),
            next_poll_at: Set(Some(now.after(acceptance.poll_after))),
            polls: Set(0),
            refusals: Set(0),
            lost_leases: Set(0),
            uncertain_until: Set(None),
            ..Default::default()
        },
    )
    .await?;
    let Some(changed) = changed else { return Ok(None) };
    attempts::Entity::update_many()
        .set(attempts::ActiveModel {
            outcome: Set(AttemptOutcome::Accepted),
            request_id: Set(Some(acceptance.request_id.clone())),
            handle: Set(Some(acceptance.handle.clone())),
            accepted_at: Set(Some(now)),
            ..Default::default()
        })
        .filter(attempts::Column::Id.eq(acceptance.attempt_id))
        .exec(db)
        .await?;
    Ok(Some(shown(&changed)))
}

/// uncertain -> running: a lookup or a signed callback brought the provider's id.
///
/// # Errors
/// When the database fails.
pub async fn bound(
    db: &impl ConnectionTrait,
    job: &JobRef,
    acceptance: &Acceptance,
    now: Timestamp,
) -> Result<Option<Effects>, DbErr> {
    accepted(db, job, acceptance, now).await
}

/// submitting -> storing: the answer brought the result; the lease is kept.
///
/// # Errors
/// When the database fails.
pub async fn finished_at_once(
    db: &impl ConnectionTrait,
    job: &JobRef,
    attempt_id: AttemptId,
    usage: Usage,
    now: Timestamp,
) -> Result<Option<jobs::Model>, DbErr> {
    let moved = media_ready(db, job, attempt_id, usage).await?;
    if moved.is_some() {
        attempts::Entity::update_many()
            .set(attempts::ActiveModel { accepted_at: Set(Some(now)), ..Default::default() })
            .filter(attempts::Column::Id.eq(attempt_id))
            .exec(db)
            .await?;
    }
    Ok(moved)
}

/// running -> storing: the provider is done; the lease is kept. The answer is the job with its new
/// epoch, which the holder needs from here on.
///
/// # Errors
/// When the database fails.
pub async fn media_ready(
    db: &impl ConnectionTrait,
    job: &JobRef,
    attempt_id: AttemptId,
    usage: Usage,
) -> Result<Option<jobs::Model>, DbErr> {
    let moved = change(
        db,
        job,
        JobState::Storing,
        Shows::No,
        jobs::ActiveModel { progress: Set(Some(1.0)), lost_leases: Set(0), ..Default::default() },
    )
    .await?;
    if moved.is_some() {
        settle::note_usage(db, attempt_id, usage).await?;
    }
    Ok(moved)
}

/// submitting -> queued: again later, or by another route. Its slot is given back.
///
/// # Errors
/// When the database fails.
pub async fn hand_back(
    db: &impl ConnectionTrait,
    job: &jobs::Model,
    back: &HandBack,
    pool: &str,
    now: Timestamp,
) -> Result<Option<Effects>, DbErr> {
    let changed = change(
        db,
        &JobRef::from(job),
        JobState::Queued,
        Shows::Yes,
        jobs::ActiveModel {
            ready_at: Set(now.after(back.wait)),
            dispatched_at: Set(None),
            pushed_at: Set(None),
            pushes: Set(0),
            lease_until: Set(None),
            next_poll_at: Set(None),
            route: Set(back.route),
            pool: Set(pool.to_owned()),
            refusals: Set(if back.counts { job.refusals.saturating_add(1) } else { job.refusals }),
            ..Default::default()
        },
    )
    .await?;
    let Some(changed) = changed else { return Ok(None) };
    settle::finish_attempt(db, back.attempt_id, back.outcome, now).await?;
    settle::free_slot(db, changed.workspace_id).await?;
    if changed.cancel_requested {
        return settle::end(db, &JobRef::from(&changed), None, &settle::Ending::Canceled, now)
            .await;
    }
    let mut effects = shown(&changed);
    effects.dispatch.insert(changed.pool);
    effects.dispatch.insert(job.pool.clone());
    Ok(Some(effects))
}

/// queued -> queued: what was handed out waits again; nothing was sent. Its slot is given back.
pub(crate) async fn requeue(
    db: &impl ConnectionTrait,
    job: &JobRef,
    moved: jobs::ActiveModel,
) -> Result<Option<jobs::Model>, DbErr> {
    let changed = change(db, job, JobState::Queued, Shows::No, moved).await?;
    if let Some(changed) = &changed {
        settle::free_slot(db, changed.workspace_id).await?;
    }
    Ok(changed)
}

/// submitting -> uncertain: the answer was lost. It is never submitted again.
///
/// # Errors
/// When the database fails.
pub async fn uncertain(
    db: &impl ConnectionTrait,
    job: &JobRef,
    attempt_id: AttemptId,
    now: Timestamp,
) -> Result<Option<Effects>, DbErr> {
    let changed = change(
        db,
        job,
        JobState::Uncertain,
        Shows::No,
        jobs::ActiveModel {
            lease_until: Set(None),
            next_poll_at: Set(Some(now)),
            polls: Set(0),
            uncertain_until: Set(Some(now.after(policy::UNCERTAIN_LIMIT))),
            ..Default::default()
        },
    )
    .await?;
    let Some(changed) = changed else { return Ok(None) };
    settle::finish_attempt(db, attempt_id, AttemptOutcome::Unknown, now).await?;
    Ok(Some(shown(&changed)))
}

/// It has not ended: the lease is given up and the job is looked at again after `wait`. Progress is
/// shown if it is new. An answer ends the row of looks in vain, by which [`policy`] waits.
///
/// # Errors
/// When the database fails.
pub async fn poll_again(
    db: &impl ConnectionTrait,
    job: &jobs::Model,
    look: Look,
    wait: Duration,
    now: Timestamp,
) -> Result<Option<Effects>, DbErr> {
    let (progress, polls) = match look {
        Look::Running { progress } => (progress, Set(0)),
        Look::InVain => (None, NotSet),
    };
    let progress = progress.map(|part| part.clamp(0.0, 1.0)).or(job.progress);
    let shows = if progress == job.progress { Shows::No } else { Shows::Yes };
    let changed = change(
        db,
        &JobRef::from(job),
        job.state,
        shows,
        jobs::ActiveModel {
            progress: Set(progress),
            polls,
            next_poll_at: Set(Some(now.after(wait))),
            lease_until: Set(None),
            lost_leases: Set(0),
            ..Default::default()
        },
    )
    .await?;
    Ok(changed.map(|changed| shown(&changed)))
}

/// Copying the media failed: again after `wait`.
///
/// # Errors
/// When the database fails.
pub async fn store_again(
    db: &impl ConnectionTrait,
    job: &jobs::Model,
    wait: Duration,
    now: Timestamp,
) -> Result<Option<Effects>, DbErr> {
    let changed = change(
        db,
        &JobRef::from(job),
        JobState::Storing,
        Shows::No,
        jobs::ActiveModel {
            store_tries: Set(job.store_tries.saturating_add(1)),
            next_poll_at: Set(Some(now.after(wait))),
            lease_until: Set(None),
            ..Default::default()
        },
    )
    .await?;
    Ok(changed.map(|changed| shown(&changed)))
}

/// Notes that the provider was asked to cancel. The answer is the job with its new epoch.
///
/// # Errors
/// When the database fails.
pub async fn mark_cancel_sent(
    db: &impl ConnectionTrait,
    job: &JobRef,
) -> Result<Option<jobs::Model>, DbErr> {
    let sent = jobs::ActiveModel { cancel_sent: Set(true), ..Default::default() };
    change(db, job, job.state, Shows::No, sent).await
}

pub(crate) fn shown(job: &jobs::Model) -> Effects {
    Effects { changed: vec![(job.id, job.version)], ..Effects::default() }
}
