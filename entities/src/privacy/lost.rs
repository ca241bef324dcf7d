//! Rows without files.
//!
//! Stored: `lost_files`, a mark for each file that a row tells of and the media store does not have. A
//! mark comes first and the row goes later (`retention.lost_days`): a folder that is not mounted looks
//! the same, and what was paid for must not be forgotten because of it. A mark goes when the file is
//! back, or when no row tells of it any more.

use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, ConnectionTrait, DatabaseTransaction, DbErr, EntityTrait, ExprTrait, QueryFilter,
    QueryOrder, QuerySelect,
    sea_query::{Expr, OnConflict},
};
use uuid::Uuid;

use super::{
    Named, Owner, forget_exports,
    orphans::{Owners, ready_exports, stored_outputs, stored_uploads},
};
use crate::{
    Effects, Timestamp,
    ids::{ExportId, JobId, OutputId, UploadId},
    tables::{exports, jobs, lost_files, outputs, uploads},
    uploads as uploading,
};

/// A kind of rows that tell of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tellers {
    /// What jobs made.
    Outputs,
    /// What users handed in.
    Uploads,
    /// What users asked for.
    Exports,
}

impl Tellers {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Outputs, Self::Uploads, Self::Exports];
}

/// A row that tells of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Teller {
    /// The row's id.
    pub id: Uuid,
    /// Its file.
    pub key: String,
    /// Whether it tells of a thumbnail as well.
    pub thumbnail: bool,
}

/// Up to `limit` rows of a kind that should have a file, after `after`.
///
/// # Errors
/// When the database fails.
pub async fn tellers(
    db: &impl ConnectionTrait,
    kind: Tellers,
    after: Option<Uuid>,
    limit: u64,
) -> Result<Vec<Teller>, DbErr> {
    // Before all ids.
    let after = after.unwrap_or_default();
    let plain = |id: Uuid, key: Option<String>| key.map(|key| Teller { id, key, thumbnail: false });
    match kind {
        Tellers::Outputs => {
            let rows: Vec<(OutputId, String, Option<String>)> = stored_outputs()
                .select_only()
                .columns([outputs::Column::Id, outputs::Column::Key])
                .column(outputs::Column::ThumbnailType)
                .filter(outputs::Column::Id.gt(OutputId(after)))
                .order_by_asc(outputs::Column::Id)
                .limit(limit)
                .into_tuple()
                .all(db)
                .await?;
            let row = |(id, key, thumbnail): (OutputId, _, Option<String>)| Teller {
                id: id.0,
                key,
                thumbnail: thumbnail.is_some(),
            };
            Ok(rows.into_iter().map(row).collect())
        }
        Tellers::Uploads => {
            let rows: Vec<(UploadId, String)> = stored_uploads()
                .select_only()
                .columns([uploads::Column::Id, uploads::Column::Key])
                .filter(uploads::Column::Id.gt(UploadId(after)))
                .order_by_asc(uploads::Column::Id)
                .limit(limit)
                .into_tuple()
                .all(db)
                .await?;
            Ok(rows.into_iter().filter_map(|(id, key)| plain(id.0, Some(key))).collect())
        }
        Tellers::Exports => {
            let rows: Vec<(ExportId, Option<String>)> = ready_exports()
                .select_only()
                .columns([exports::Column::Id, exports::Column::Key])
                .filter(exports::Column::Id.gt(ExportId(after)))
                .order_by_asc(exports::Column::Id)
                .limit(limit)
                .into_tuple()
                .all(db)
                .await?;
            Ok(rows.into_iter().filter_map(|(id, key)| plain(id.0, key)).collect())
        }
    }
}

/// Marks files as missing; how many were not marked before.
///
/// # Errors
/// When the database fails.
pub async fn mark_lost(
    db: &impl ConnectionTrait,
    missing: &[String],
    now: Timestamp,
) -> Result<u64, DbErr> {
    if missing.is_empty() {
        return Ok(0);
    }
    let rows = missing
        .iter()
        .map(|key| lost_files::ActiveModel { key: Set(key.clone()), found_at: Set(now) });
    lost_files::Entity::insert_many(rows)
        .on_conflict(OnConflict::new().do_nothing().to_owned())
        .exec_without_returning(db)
        .await
}

/// Up to `limit` marks, in the order of their files' names, after `after`.
///
/// # Errors
/// When the database fails.
pub async fn lost_after(
    db: &impl ConnectionTrait,
    after: Option<&str>,
    limit: u64,
) -> Result<Vec<lost_files::Model>, DbErr> {
    lost_files::Entity::find()
        .filter(lost_files::Column::Key.gt(after.unwrap_or_default()))
        .order_by_asc(lost_files::Column::Key)
        .limit(limit)
        .all(db)
        .await
}

/// Takes marks away.
///
/// # Errors
/// When the database fails.
pub async fn unmark(db: &impl ConnectionTrait, keys: &[String]) -> Result<(), DbErr> {
    if keys.is_empty() {
        return Ok(());
    }
    let marks = lost_files::Entity::delete_many();
    marks.filter(lost_files::Column::Key.is_in(keys)).exec(db).await?;
    Ok(())
}

/// Removes what rows tell of files that are gone: an output counts as deleted (its row stays as proof of
/// delivery), a picture is without its thumbnail, an upload or export is no more. An upload that a live
/// job uses stays until the job has ended. The marks go with the next look.
///
/// # Errors
/// When the database fails.
pub async fn remove_lost(
    tx: &DatabaseTransaction,
    files: &[Named],
    now: Timestamp,
) -> Result<Effects, DbErr> {
    let owners = Owners::of(files);
    let keys = |thumbnail: bool| -> Vec<&str> {
        let ours = files.iter().filter(|file| matches!(file.owner, Owner::Job(_)));
        ours.filter(|file| file.thumbnail == thumbnail).map(|file| file.key.as_str()).collect()
    };
    let gone = outputs::ActiveModel { deleted_at: Set(Some(now)), ..Default::default() };
    let plain = outputs::ActiveModel {
        thumbnail_type: Set(None),
        thumbnail_bytes: Set(None),
        thumbnail_width: Set(None),
        thumbnail_height: Set(None),
        ..Default::default()
    };
    let mut poorer: Vec<JobId> = Vec::new();
    for (change, keys) in [(gone, keys(false)), (plain, keys(true))] {
        let changed = outputs::Entity::update_many()
            .set(change)
            .filter(outputs::Column::JobId.is_in(owners.jobs.iter().copied()))
            .filter(outputs::Column::Key.is_in(keys))
            .filter(outputs::Column::DeletedAt.is_null())
            .exec_with_returning(tx)
            .await?;
        poorer.extend(changed.into_iter().map(|output| output.job_id));
    }
    let changed = jobs::Entity::update_many()
        .col_expr(jobs::Column::Version, Expr::col(jobs::Column::Version).add(1))
        .filter(jobs::Column::Id.is_in(poorer))
        .exec_with_returning(tx)
        .await?;
    uploading::lose(tx, &owners.uploads, now).await?;
    forget_exports(tx, &owners.exports).await?;
    let changed = changed.into_iter().map(|job| (job.id, job.version)).collect();
    Ok(Effects { changed, ..Effects::default() })
}
