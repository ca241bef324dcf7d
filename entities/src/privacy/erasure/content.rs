//! Content that is erased in batches: files first, then the rows.

use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseTransaction, DbErr, EntityTrait, ExprTrait, QueryFilter,
    QueryOrder, QuerySelect, sea_query::Expr,
};

use super::super::{copies, forget_exports};
use crate::{
    Effects, Timestamp,
    ids::{ExportId, JobId, UploadId, UserId, WorkspaceId},
    job,
    tables::{erasures, exports, jobs, outputs, uploads},
    uploads as uploading,
};

/// Content that goes together: its files first, then [`erase_batch`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// Jobs to be emptied.
    pub jobs: Vec<JobId>,
    /// Uploads to be forgotten.
    pub uploads: Vec<UploadId>,
    /// Exports to be forgotten.
    pub exports: Vec<ExportId>,
    /// Files of the jobs that are stored.
    pub job_keys: Vec<String>,
    /// Files of the uploads.
    pub upload_keys: Vec<String>,
}

impl Batch {
    /// Whether nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty() && self.uploads.is_empty() && self.exports.is_empty()
    }
}

/// The next content of the account, up to `limit` of each kind.
///
/// # Errors
/// When the database fails.
pub async fn batch(
    db: &impl ConnectionTrait,
    workspace_id: WorkspaceId,
    user_id: UserId,
    limit: u64,
) -> Result<Batch, DbErr> {
    let jobs: Vec<JobId> = jobs::Entity::find()
        .select_only()
        .column(jobs::Column::Id)
        .filter(jobs::Column::WorkspaceId.eq(workspace_id))
        .filter(jobs::Column::ErasedAt.is_null())
        .filter(jobs::Column::FinishedAt.is_not_null())
        .order_by_asc(jobs::Column::Id)
        .limit(limit)
        .into_tuple()
        .all(db)
        .await?;
    let job_keys = outputs::Entity::find()
        .select_only()
        .column(outputs::Column::Key)
        .filter(outputs::Column::JobId.is_in(jobs.iter().copied()))
        .filter(outputs::Column::DeletedAt.is_null())
        .into_tuple()
        .all(db)
        .await?;
    let left: Vec<(UploadId, String)> = uploads::Entity::find()
        .select_only()
        .columns([uploads::Column::Id, uploads::Column::Key])
        .filter(uploads::Column::WorkspaceId.eq(workspace_id))
        .order_by_asc(uploads::Column::Id)
        .limit(limit)
        .into_tuple()
        .all(db)
        .await?;
    let exports: Vec<ExportId> = exports::Entity::find()
        .select_only()
        .column(exports::Column::Id)
        .filter(exports::Column::UserId.eq(user_id))
        .limit(limit)
        .into_tuple()
        .all(db)
        .await?;
    let (uploads, upload_keys) = left.into_iter().unzip();
    Ok(Batch { jobs, uploads, exports, job_keys, upload_keys })
}

/// Empties or deletes the rows of content whose files are gone, and counts them in the receipt.
///
/// # Errors
/// When the database fails.
pub async fn erase_batch(
    tx: &DatabaseTransaction,
    erasure: &erasures::Model,
    batch: &Batch,
    now: Timestamp,
) -> Result<Effects, DbErr> {
    // Whoever repeats a step finds the same jobs only if the step before was not committed.
    let still: Vec<JobId> = jobs::Entity::find()
        .select_only()
        .column(jobs::Column::Id)
        .filter(jobs::Column::Id.is_in(batch.jobs.iter().copied()))
        .filter(jobs::Column::ErasedAt.is_null())
        .filter(jobs::Column::FinishedAt.is_not_null())
        .into_tuple()
        .all(tx)
        .await?;
    let asked = copies::note(tx, erasure.id, &still, now).await?;
    let effects = job::erase(tx, &still, now).await?;
    let uploads = uploading::forget(tx, &batch.uploads).await?;
    let exports = forget_exports(tx, &batch.exports).await?;
    let add = |column: erasures::Column, count: u64| {
        (column, Expr::col(column).add(i64::try_from(count).unwrap_or(i64::MAX)))
    };
    let mut counted = erasures::Entity::update_many();
    for (column, sum) in [
        add(erasures::Column::Jobs, still.len() as u64),
        add(erasures::Column::Files, batch.job_keys.len() as u64),
        add(erasures::Column::Uploads, uploads),
        add(erasures::Column::Exports, exports),
        add(erasures::Column::CopiesAsked, asked),
    ] {
        counted = counted.col_expr(column, sum);
    }
    counted.filter(erasures::Column::Id.eq(erasure.id)).exec(tx).await?;
    Ok(effects)
}
