//! Deleting an ended job: its content goes, its row stays (empty) because the ledger points to it.

use sea_orm::{
    ActiveValue::Set, ColumnTrait, DatabaseTransaction, DbErr, EntityTrait, QueryFilter,
};

use super::{erase, view};
use crate::{
    Timestamp, callbacks,
    ids::{JobId, WorkspaceId},
    tables::{jobs, outputs},
    uploads,
};

/// What became of a delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deleted {
    /// The workspace has no such job.
    NotFound,
    /// It has not ended; cancel it first.
    Live,
    /// It is gone; these files of the media store are to be deleted now.
    Done {
        /// Their keys.
        keys: Vec<String>,
    },
}

/// Deletes the workspace's job.
///
/// # Errors
/// When the database fails.
pub async fn delete(
    tx: &DatabaseTransaction,
    workspace_id: WorkspaceId,
    job_id: JobId,
    now: Timestamp,
) -> Result<Deleted, DbErr> {
    let Some(job) = view::find(tx, workspace_id, job_id).await? else {
        return Ok(Deleted::NotFound);
    };
    if !job.state.is_terminal() {
        return Ok(Deleted::Live);
    }
    jobs::Entity::update_many()
        .set(jobs::ActiveModel { deleted_at: Set(Some(now)), ..erase::empty(now) })
        .filter(jobs::Column::Id.eq(job.id))
        .exec(tx)
        .await?;
    let gone = outputs::Entity::update_many()
        .set(outputs::ActiveModel { deleted_at: Set(Some(now)), ..Default::default() })
        .filter(outputs::Column::JobId.eq(job.id))
        .filter(outputs::Column::DeletedAt.is_null())
        .exec_with_returning(tx)
        .await?;
    erase::forget_handles(tx, &[job.id]).await?;
    callbacks::forget(tx, &[job.id]).await?;
    let mut keys: Vec<String> = gone.into_iter().map(|output| output.key).collect();
    keys.extend(uploads::leave_with(tx, &[job.id], now).await?);
    Ok(Deleted::Done { keys })
}
