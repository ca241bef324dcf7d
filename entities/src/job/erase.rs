//! Erasing a job's content: what its user wrote and what was made from it. The row stays, empty,
//! because the ledger points to it.
//!
//! What has expired is erased in two steps: the files go first, then the rows say so. A crash in
//! between leaves rows that are found again, and deleting a file twice does no harm.

use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, ExprTrait, QueryFilter,
    QueryOrder, QuerySelect, sea_query::Expr,
};
use serde_json::json;

use crate::{
    Effects, Timestamp, callbacks,
    ids::JobId,
    tables::{attempts, jobs, outputs},
    uploads,
};

/// A job whose time is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expired {
    /// Which.
    pub id: JobId,
    /// Its files, which are to be deleted before [`erase`] is called.
    pub keys: Vec<String>,
}

/// Up to `limit` ended jobs whose content should be gone, longest overdue first. A job that lives
/// beyond its time is erased once it has ended.
///
/// # Errors
/// When the database fails.
pub async fn expired(
    db: &impl ConnectionTrait,
    limit: u64,
    now: Timestamp,
) -> Result<Vec<Expired>, DbErr> {
    let ids: Vec<JobId> = jobs::Entity::find()
        .select_only()
        .column(jobs::Column::Id)
        .filter(jobs::Column::ExpiresAt.lte(now))
        .filter(jobs::Column::ErasedAt.is_null())
        .filter(jobs::Column::FinishedAt.is_not_null())
        .order_by_asc(jobs::Column::ExpiresAt)
        .limit(limit)
        .into_tuple()
        .all(db)
        .await?;
    let files = outputs::Entity::find()
        .filter(outputs::Column::JobId.is_in(ids.iter().copied()))
        .filter(outputs::Column::DeletedAt.is_null())
        .all(db)
        .await?;
    let keys = |id: &JobId| {
        files.iter().filter(|file| file.job_id == *id).map(|file| file.key.clone()).collect()
    };
    Ok(ids.iter().map(|id| Expired { id: *id, keys: keys(id) }).collect())
}

/// Empties the rows of ended jobs whose files are gone.
///
/// # Errors
/// When the database fails.
pub async fn erase(
    db: &impl ConnectionTrait,
    ids: &[JobId],
    now: Timestamp,
) -> Result<Effects, DbErr> {
    let erased = jobs::Entity::update_many()
        .set(empty(now))
        .col_expr(jobs::Column::Version, Expr::col(jobs::Column::Version).add(1))
        .filter(jobs::Column::Id.is_in(ids.iter().copied()))
        .filter(jobs::Column::FinishedAt.is_not_null())
        .filter(jobs::Column::ErasedAt.is_null())
        .exec_with_returning(db)
        .await?;
    let ids: Vec<JobId> = erased.iter().map(|job| job.id).collect();
    outputs::Entity::update_many()
        .set(outputs::ActiveModel { deleted_at: Set(Some(now)), ..Default::default() })
        .filter(outputs::Column::JobId.is_in(ids.iter().copied()))
        .filter(outputs::Column::DeletedAt.is_null())
        .exec(db)
        .await?;
    forget_handles(db, &ids).await?;
    // The scheduler finds their files by the marked rows.
    uploads::leave_with(db, &ids, now).await?;
    callbacks::forget(db, &ids).await?;
    let changed = erased.iter().map(|job| (job.id, job.version)).collect();
    Ok(Effects { changed, ..Effects::default() })
}

/// What an emptied row holds.
pub(super) fn empty(now: Timestamp) -> jobs::ActiveModel {
    jobs::ActiveModel {
        input: Set(json!({})),
        metadata: Set(json!({})),
        resolved: Set(json!({})),
        error_detail: Set(None),
        erased_at: Set(Some(now)),
        ..Default::default()
    }
}

/// What a provider returned may lead to the media.
pub(super) async fn forget_handles(db: &impl ConnectionTrait, ids: &[JobId]) -> Result<(), DbErr> {
    attempts::Entity::update_many()
        .set(attempts::ActiveModel { handle: Set(None), ..Default::default() })
        .filter(attempts::Column::JobId.is_in(ids.iter().copied()))
        .exec(db)
        .await?;
    Ok(())
}
