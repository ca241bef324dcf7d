//! Files without rows, and rows without files.
//!
//! A row is always written before its file and goes after it, so a file whose owner does not know it
//! is left over from a crash. A row whose file is gone is only marked (`lost_files`): a folder that
//! is not mounted looks the same, and what was paid for must not be forgotten because of it.

use std::collections::HashSet;

use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QueryOrder,
    QuerySelect, sea_query::OnConflict,
};

use crate::{
    Timestamp,
    ids::{ExportId, JobId, OutputId, UploadId},
    privacy::ExportState,
    tables::{exports, jobs, lost_files, outputs, uploads},
};

/// Whom a file of the media store belongs to, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Owner {
    /// A job's output.
    Job(JobId),
    /// An upload.
    Upload(UploadId),
    /// An export.
    Export(ExportId),
}

/// Those of these files that somebody still keeps. A job that has not ended keeps whatever bears its
/// name: its worker is about to tell of it.
///
/// # Errors
/// When the database fails.
pub async fn kept(
    db: &impl ConnectionTrait,
    files: &[(String, Owner)],
) -> Result<HashSet<String>, DbErr> {
    let mut job_ids = Vec::new();
    let mut upload_ids = Vec::new();
    let mut export_ids = Vec::new();
    for (_, owner) in files {
        match owner {
            Owner::Job(id) => job_ids.push(*id),
            Owner::Upload(id) => upload_ids.push(*id),
            Owner::Export(id) => export_ids.push(*id),
        }
    }
    let live: Vec<JobId> = jobs::Entity::find()
        .select_only()
        .column(jobs::Column::Id)
        .filter(jobs::Column::Id.is_in(job_ids.iter().copied()))
        .filter(jobs::Column::FinishedAt.is_null())
        .into_tuple()
        .all(db)
        .await?;
    let told: Vec<String> = outputs::Entity::find()
        .select_only()
        .column(outputs::Column::Key)
        .filter(outputs::Column::JobId.is_in(job_ids))
        .filter(outputs::Column::DeletedAt.is_null())
        .into_tuple()
        .all(db)
        .await?;
    let uploads: Vec<UploadId> = uploads::Entity::find()
        .select_only()
        .column(uploads::Column::Id)
        .filter(uploads::Column::Id.is_in(upload_ids))
        .into_tuple()
        .all(db)
        .await?;
    let exports: Vec<ExportId> = exports::Entity::find()
        .select_only()
        .column(exports::Column::Id)
        .filter(exports::Column::Id.is_in(export_ids))
        .filter(exports::Column::State.ne(ExportState::Failed))
        .into_tuple()
        .all(db)
        .await?;
    let told: HashSet<String> = told.into_iter().collect();
    let is_kept = |(key, owner): &&(String, Owner)| match owner {
        Owner::Job(id) => live.contains(id) || told.contains(key),
        Owner::Upload(id) => uploads.contains(id),
        Owner::Export(id) => exports.contains(id),
    };
    Ok(files.iter().filter(is_kept).map(|(key, _)| key.clone()).collect())
}

/// Those of these owners for whom a file may just be arriving: a job that has not ended, an upload
/// or an export that is on its way.
///
/// # Errors
/// When the database fails.
pub async fn awaited(
    db: &impl ConnectionTrait,
    halves: &[(String, Owner)],
) -> Result<HashSet<Owner>, DbErr> {
    let mut awaited = HashSet::new();
    for (_, owner) in halves {
        let waits = match owner {
            Owner::Job(id) => {
                let job = jobs::Entity::find_by_id(*id).one(db).await?;
                job.is_some_and(|job| job.finished_at.is_none())
            }
            Owner::Upload(id) => {
                let upload = uploads::Entity::find_by_id(*id).one(db).await?;
                upload
                    .is_some_and(|upload| upload.stored_at.is_none() && upload.deleted_at.is_none())
            }
            Owner::Export(id) => {
                let export = exports::Entity::find_by_id(*id).one(db).await?;
                export.is_some_and(|export| export.state == ExportState::Building)
            }
        };
        if waits {
            awaited.insert(*owner);
        }
    }
    Ok(awaited)
}

/// Up to `limit` outputs that should have a file, with its key, after `after`.
///
/// # Errors
/// When the database fails.
pub async fn outputs_after(
    db: &impl ConnectionTrait,
    after: Option<OutputId>,
    limit: u64,
) -> Result<Vec<(OutputId, String)>, DbErr> {
    let mut query = outputs::Entity::find()
        .select_only()
        .columns([outputs::Column::Id, outputs::Column::Key])
        .filter(outputs::Column::DeletedAt.is_null())
        .order_by_asc(outputs::Column::Id)
        .limit(limit);
    if let Some(after) = after {
        query = query.filter(outputs::Column::Id.gt(after));
    }
    query.into_tuple().all(db).await
}

/// Marks files as missing, and takes the mark from those that are there (again) or that no row tells
/// of any more. Answers with how many are newly missing.
///
/// # Errors
/// When the database fails.
pub async fn mark_lost(
    db: &impl ConnectionTrait,
    missing: &[String],
    found: &[String],
    now: Timestamp,
) -> Result<u64, DbErr> {
    if !found.is_empty() {
        lost_files::Entity::delete_many()
            .filter(lost_files::Column::Key.is_in(found))
            .exec(db)
            .await?;
    }
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

/// Which files are marked as missing, up to `limit`.
///
/// # Errors
/// When the database fails.
pub async fn lost(db: &impl ConnectionTrait, limit: u64) -> Result<Vec<lost_files::Model>, DbErr> {
    lost_files::Entity::find().order_by_asc(lost_files::Column::FoundAt).limit(limit).all(db).await
}
