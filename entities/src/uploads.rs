//! Media that users hand in: images that models take as input.
//!
//! A row is written before its file, so that no file can be without a row; it counts once its file
//! is stored. A job that uses an upload keeps it, beyond its time, until the job's own content is
//! erased. An upload that came with a job (`made_for_job`) goes with the last job that uses it; one
//! that the user made stays for its own time. Deleting is marking the row; then the file goes, and
//! the row last, so that a crash leaves nothing behind that is not found again.

use std::{collections::HashSet, time::Duration};

use sea_orm::{
    ActiveValue::Set, ColumnTrait, Condition, ConnectionTrait, DbErr, EntityTrait, QueryFilter,
    QueryOrder, QuerySelect, sea_query::Expr,
};

use crate::{
    Timestamp,
    db::{for_update, placeholders, sql},
    ids::{JobId, UploadId, WorkspaceId},
    tables::{job_uploads, uploads},
};

/// How long a file may take to arrive.
const ARRIVAL: Duration = Duration::from_secs(60 * 60);

/// Expired uploads stay this much longer: a submit that saw one just before may still commit.
const GRACE: Duration = Duration::from_secs(60);

/// An upload whose job is still there, as SQL.
const KEPT: &str = "EXISTS (SELECT 1 FROM job_uploads ju JOIN jobs j ON j.id = ju.job_id \
                    WHERE ju.upload_id = uploads.id AND j.erased_at IS NULL)";

/// An upload whose job has not ended, as SQL.
const IN_USE: &str = "EXISTS (SELECT 1 FROM job_uploads ju JOIN jobs j ON j.id = ju.job_id \
                      WHERE ju.upload_id = uploads.id AND j.finished_at IS NULL)";

/// An upload whose file is about to arrive.
#[derive(Debug, Clone)]
pub struct NewUpload {
    /// Its id.
    pub id: UploadId,
    /// The owner.
    pub workspace_id: WorkspaceId,
    /// Its name in the media store.
    pub key: String,
    /// It comes with a job and goes with it.
    pub made_for_job: bool,
    /// Now.
    pub created_at: Timestamp,
}

/// What was found in a file that has arrived.
#[derive(Debug, Clone)]
pub struct Arrived {
    /// Its type.
    pub content_type: String,
    /// Its size.
    pub bytes: u64,
    /// Its checksum, hexadecimal.
    pub sha256: String,
    /// In pixels.
    pub width: Option<u32>,
    /// In pixels.
    pub height: Option<u32>,
    /// When it is deleted.
    pub expires_at: Timestamp,
}

/// What became of a delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deleted {
    /// The workspace has no such upload.
    NotFound,
    /// A job that has not ended uses it.
    InUse,
    /// It is gone; this file of the media store is to be deleted now.
    Done {
        /// Its key.
        key: String,
    },
}

/// Writes the row of an upload that is about to arrive.
///
/// # Errors
/// When the database fails.
pub async fn begin(db: &impl ConnectionTrait, new: &NewUpload) -> Result<(), DbErr> {
    uploads::Entity::insert(uploads::ActiveModel {
        id: Set(new.id),
        workspace_id: Set(new.workspace_id),
        key: Set(new.key.clone()),
        made_for_job: Set(new.made_for_job),
        content_type: Set(String::new()),
        bytes: Set(0),
        sha256: Set(String::new()),
        width: Set(None),
        height: Set(None),
        created_at: Set(new.created_at),
        stored_at: Set(None),
        expires_at: Set(new.created_at.after(ARRIVAL)),
        deleted_at: Set(None),
    })
    .exec_without_returning(db)
    .await?;
    Ok(())
}

/// Its file has arrived: from now on it can be used. `None`: it was given up meanwhile.
///
/// # Errors
/// When the database fails.
pub async fn arrived(
    db: &impl ConnectionTrait,
    id: UploadId,
    found: &Arrived,
    now: Timestamp,
) -> Result<Option<uploads::Model>, DbErr> {
    let pixels = |number: Option<u32>| number.and_then(|number| i32::try_from(number).ok());
    let rows = uploads::Entity::update_many()
        .set(uploads::ActiveModel {
            content_type: Set(found.content_type.clone()),
            bytes: Set(i64::try_from(found.bytes).unwrap_or(i64::MAX)),
            sha256: Set(found.sha256.clone()),
            width: Set(pixels(found.width)),
            height: Set(pixels(found.height)),
            stored_at: Set(Some(now)),
            expires_at: Set(found.expires_at),
            ..Default::default()
        })
        .filter(uploads::Column::Id.eq(id))
        .filter(uploads::Column::DeletedAt.is_null())
        .exec_with_returning(db)
        .await?;
    Ok(rows.into_iter().next())
}

/// The workspace's upload that a new job may use: its own time is not over, so that using it again
/// and again does not keep it for ever.
///
/// # Errors
/// When the database fails.
pub async fn usable(
    db: &impl ConnectionTrait,
    workspace_id: WorkspaceId,
    id: UploadId,
    now: Timestamp,
) -> Result<Option<uploads::Model>, DbErr> {
    let found = get(db, workspace_id, id, now).await?;
    Ok(found.filter(|upload| upload.expires_at > now))
}

/// The workspace's upload, while it is shown: for its own time, and as long as a job's content has it.
///
/// # Errors
/// When the database fails.
pub async fn get(
    db: &impl ConnectionTrait,
    workspace_id: WorkspaceId,
    id: UploadId,
    now: Timestamp,
) -> Result<Option<uploads::Model>, DbErr> {
    uploads::Entity::find_by_id(id)
        .filter(uploads::Column::WorkspaceId.eq(workspace_id))
        .filter(uploads::Column::StoredAt.is_not_null())
        .filter(uploads::Column::DeletedAt.is_null())
        .filter(Condition::any().add(uploads::Column::ExpiresAt.gt(now)).add(Expr::cust(KEPT)))
        .one(db)
        .await
}

/// The upload that a job uses.
///
/// # Errors
/// When the database fails.
pub async fn of_job(
    db: &impl ConnectionTrait,
    job_id: JobId,
    id: UploadId,
) -> Result<Option<uploads::Model>, DbErr> {
    let used = job_uploads::Entity::find_by_id((job_id, id)).one(db).await?;
    if used.is_none() {
        return Ok(None);
    }
    let stored = uploads::Column::StoredAt.is_not_null();
    uploads::Entity::find_by_id(id)
        .filter(stored)
        .filter(uploads::Column::DeletedAt.is_null())
        .one(db)
        .await
}

/// Deletes the workspace's upload, unless a job that has not ended uses it.
///
/// # Errors
/// When the database fails.
pub async fn delete(
    db: &impl ConnectionTrait,
    workspace_id: WorkspaceId,
    id: UploadId,
    now: Timestamp,
) -> Result<Deleted, DbErr> {
    if get(db, workspace_id, id, now).await?.is_none() {
        return Ok(Deleted::NotFound);
    }
    lock(db, &[id]).await?;
    let marked = uploads::Entity::update_many()
        .set(uploads::ActiveModel { deleted_at: Set(Some(now)), ..Default::default() })
        .filter(uploads::Column::Id.eq(id))
        .filter(uploads::Column::DeletedAt.is_null())
        .filter(Expr::cust(format!("NOT {IN_USE}")))
        .exec_with_returning(db)
        .await?;
    Ok(match marked.into_iter().next() {
        Some(upload) => Deleted::Done { key: upload.key },
        None => Deleted::InUse,
    })
}

/// Marks uploads whose files are lost, but for those that a job uses that has not ended.
pub(crate) async fn lose(
    db: &impl ConnectionTrait,
    ids: &[UploadId],
    now: Timestamp,
) -> Result<(), DbErr> {
    lock(db, ids).await?;
    uploads::Entity::update_many()
        .set(uploads::ActiveModel { deleted_at: Set(Some(now)), ..Default::default() })
        .filter(uploads::Column::Id.is_in(ids.iter().copied()))
        .filter(uploads::Column::DeletedAt.is_null())
        .filter(Expr::cust(format!("NOT {IN_USE}")))
        .exec(db)
        .await?;
    Ok(())
}

/// Marks uploads that no job came to use; answers with their keys.
///
/// # Errors
/// When the database fails.
pub async fn give_up(
    db: &impl ConnectionTrait,
    ids: &[UploadId],
    now: Timestamp,
) -> Result<Vec<String>, DbErr> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    lock(db, ids).await?;
    let marked = uploads::Entity::update_many()
        .set(uploads::ActiveModel { deleted_at: Set(Some(now)), ..Default::default() })
        .filter(uploads::Column::Id.is_in(ids.iter().copied()))
        .filter(uploads::Column::DeletedAt.is_null())
        .filter(Expr::cust(format!("NOT {KEPT}")))
        .exec_with_returning(db)
        .await?;
    Ok(marked.into_iter().map(|upload| upload.key).collect())
}

/// Marks what came with these jobs and no other job keeps; their content was erased before, in the
/// same transaction. Answers with the keys.
pub(crate) async fn leave_with(
    db: &impl ConnectionTrait,
    jobs: &[JobId],
    now: Timestamp,
) -> Result<Vec<String>, DbErr> {
    let used: Vec<UploadId> = job_uploads::Entity::find()
        .select_only()
        .column(job_uploads::Column::UploadId)
        .filter(job_uploads::Column::JobId.is_in(jobs.iter().copied()))
        .into_tuple()
        .all(db)
        .await?;
    if used.is_empty() {
        return Ok(Vec::new());
    }
    lock(db, &used).await?;
    let marked = uploads::Entity::update_many()
        .set(uploads::ActiveModel { deleted_at: Set(Some(now)), ..Default::default() })
        .filter(uploads::Column::Id.is_in(used))
        .filter(uploads::Column::MadeForJob.eq(true))
        .filter(uploads::Column::DeletedAt.is_null())
        .filter(Expr::cust(format!("NOT {KEPT}")))
        .exec_with_returning(db)
        .await?;
    Ok(marked.into_iter().map(|upload| upload.key).collect())
}

/// Notes which uploads new jobs use. One that was deleted meanwhile is left out: its job then finds
/// out that its input is gone.
pub(crate) async fn link(
    db: &impl ConnectionTrait,
    used: Vec<(JobId, UploadId)>,
) -> Result<(), DbErr> {
    let ids: Vec<UploadId> = used.iter().map(|(_, id)| *id).collect();
    let there = lock(db, &ids).await?;
    let mut rows = Vec::new();
    for (job_id, upload_id) in used {
        if there.contains(&upload_id) {
            rows.push(job_uploads::ActiveModel { job_id: Set(job_id), upload_id: Set(upload_id) });
        }
    }
    if !rows.is_empty() {
        job_uploads::Entity::insert_many(rows).exec_without_returning(db).await?;
    }
    Ok(())
}

/// Locks the uploads until the transaction ends, so that none is deleted while a job begins to use
/// it; answers with those that are still there.
async fn lock(db: &impl ConnectionTrait, ids: &[UploadId]) -> Result<HashSet<UploadId>, DbErr> {
    if ids.is_empty() {
        return Ok(HashSet::new());
    }
    let text = format!(
        "SELECT id FROM uploads WHERE id IN ({}) AND deleted_at IS NULL ORDER BY id{}",
        placeholders(1, ids.len()),
        for_update(db.get_database_backend()),
    );
    let rows = db.query_all_raw(sql(db, text, ids.iter().map(|id| id.0.into()))).await?;
    rows.iter().map(|row| row.try_get("", "id")).collect()
}

/// Up to `limit` uploads that should be gone: deleted ones, and expired ones that no job keeps. The
/// answer is each with its key.
///
/// # Errors
/// When the database fails.
pub async fn leaving(
    db: &impl ConnectionTrait,
    limit: u64,
    now: Timestamp,
) -> Result<Vec<(UploadId, String)>, DbErr> {
    let expired = Condition::all()
        .add(uploads::Column::ExpiresAt.lte(now.before(GRACE)))
        .add(Expr::cust(format!("NOT {KEPT}")));
    uploads::Entity::find()
        .select_only()
        .columns([uploads::Column::Id, uploads::Column::Key])
        .filter(Condition::any().add(uploads::Column::DeletedAt.is_not_null()).add(expired))
        .order_by_asc(uploads::Column::ExpiresAt)
        .limit(limit)
        .into_tuple()
        .all(db)
        .await
}

/// Removes the rows of uploads whose files are gone; how many there were.
///
/// # Errors
/// When the database fails.
pub async fn forget(db: &impl ConnectionTrait, ids: &[UploadId]) -> Result<u64, DbErr> {
    let rows = job_uploads::Entity::delete_many()
        .filter(job_uploads::Column::UploadId.is_in(ids.iter().copied()));
    rows.exec(db).await?;
    let gone = uploads::Entity::delete_many()
        .filter(uploads::Column::Id.is_in(ids.iter().copied()))
        .exec(db)
        .await?;
    Ok(gone.rows_affected)
}
