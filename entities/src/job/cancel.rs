//! A user's wish to end a job.

use sea_orm::{ActiveValue::Set, DatabaseTransaction, DbErr};

use super::{
    JobRef, JobState,
    guarded::{Shows, change},
    progress::shown,
    settle::{self, Ending},
    view,
};
use crate::{
    Effects, Timestamp,
    ids::{JobId, WorkspaceId},
    tables::jobs,
};

/// How often a cancel tries again when the job changes under its hands.
const TRIES: usize = 20;

/// Cancels the workspace's job: a queued one at once; one that is at a provider is marked, and ends
/// when the provider confirms; a storing or ended one is left alone. `None`: no such job.
///
/// # Errors
/// When the database fails.
pub async fn cancel(
    tx: &DatabaseTransaction,
    workspace_id: WorkspaceId,
    job_id: JobId,
    now: Timestamp,
) -> Result<Option<Effects>, DbErr> {
    for _ in 0..TRIES {
        let Some(job) = view::find(tx, workspace_id, job_id).await? else { return Ok(None) };
        let guard = JobRef::from(&job);
        let done = match job.state {
            JobState::Queued => settle::end(tx, &guard, None, &Ending::Canceled, now).await?,
            JobState::Submitting | JobState::Running | JobState::Uncertain
                if !job.cancel_requested =>
            {
                request(tx, &job, now).await?
            }
            JobState::Submitting
            | JobState::Running
            | JobState::Uncertain
            | JobState::Storing
            | JobState::Succeeded
            | JobState::Failed
            | JobState::Canceled => Some(Effects::default()),
        };
        if done.is_some() {
            return Ok(done);
        }
    }
    Err(DbErr::Custom(format!("{job_id} kept changing while it was being canceled")))
}

/// Sets the flag without touching the epoch, so that the holder of a lease keeps it.
async fn request(
    tx: &DatabaseTransaction,
    job: &jobs::Model,
    now: Timestamp,
) -> Result<Option<Effects>, DbErr> {
    if job.lease_until.is_some() {
        return flag(tx, job).await;
    }
    let asked = jobs::ActiveModel {
        cancel_requested: Set(true),
        next_poll_at: Set(Some(now)),
        ..Default::default()
    };
    let changed = change(tx, &JobRef::from(job), job.state, Shows::Yes, asked).await?;
    Ok(changed.map(|changed| shown(&changed)))
}

async fn flag(tx: &DatabaseTransaction, job: &jobs::Model) -> Result<Option<Effects>, DbErr> {
    use sea_orm::{ColumnTrait, EntityTrait, ExprTrait, QueryFilter, sea_query::Expr};
    let changed = jobs::Entity::update_many()
        .col_expr(jobs::Column::CancelRequested, Expr::value(true))
        .col_expr(jobs::Column::Version, Expr::col(jobs::Column::Version).add(1))
        .filter(jobs::Column::Id.eq(job.id))
        .filter(jobs::Column::Epoch.eq(job.epoch))
        .exec_with_returning(tx)
        .await?;
    Ok(changed.first().map(shown))
}
