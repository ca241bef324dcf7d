//! Files without rows. A row is always written before its file and goes after it, so a file whose
//! owner does not know it is left over from a crash. Rows without files are the matter of `lost`.

use std::collections::HashSet;

use sea_orm::{ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QuerySelect, Select};

use crate::{
    ids::{ExportId, JobId, UploadId},
    privacy::ExportState,
    tables::{exports, jobs, outputs, uploads},
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

/// A file of the media store, by what its name says.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Named {
    /// The name that a row has: the file's own, or that of the picture that it is a thumbnail of.
    pub key: String,
    /// Whether it is the thumbnail.
    pub thumbnail: bool,
    /// Whom it belongs to.
    pub owner: Owner,
}

/// The ids of the owners, by kind.
#[derive(Default)]
pub(super) struct Owners {
    pub(super) jobs: Vec<JobId>,
    pub(super) uploads: Vec<UploadId>,
    pub(super) exports: Vec<ExportId>,
}

impl Owners {
    pub(super) fn of(files: &[Named]) -> Self {
        let mut owners = Self::default();
        for file in files {
            match file.owner {
                Owner::Job(id) => owners.jobs.push(id),
                Owner::Upload(id) => owners.uploads.push(id),
                Owner::Export(id) => owners.exports.push(id),
            }
        }
        owners
    }
}

/// Those of these files that somebody still keeps. A job that has not ended keeps whatever bears its
/// name, and an upload or an export that is on its way its file: they are about to tell of it.
///
/// # Errors
/// When the database fails.
pub async fn kept(db: &impl ConnectionTrait, files: &[Named]) -> Result<HashSet<Named>, DbErr> {
    let owners = Owners::of(files);
    let live: Vec<JobId> = jobs::Entity::find()
        .select_only()
        .column(jobs::Column::Id)
        .filter(jobs::Column::Id.is_in(owners.jobs.iter().copied()))
        .filter(jobs::Column::FinishedAt.is_null())
        .into_tuple()
        .all(db)
        .await?;
    let told = outputs_of(db, owners.jobs).await?;
    let uploads: Vec<UploadId> = uploads::Entity::find()
        .select_only()
        .column(uploads::Column::Id)
        .filter(uploads::Column::Id.is_in(owners.uploads))
        .into_tuple()
        .all(db)
        .await?;
    let exports: Vec<ExportId> = exports::Entity::find()
        .select_only()
        .column(exports::Column::Id)
        .filter(exports::Column::Id.is_in(owners.exports))
        .filter(exports::Column::State.ne(ExportState::Failed))
        .into_tuple()
        .all(db)
        .await?;
    let is_kept = |file: &&Named| match &file.owner {
        Owner::Job(id) => live.contains(id) || told.contains(&(file.key.clone(), file.thumbnail)),
        Owner::Upload(id) => uploads.contains(id),
        Owner::Export(id) => exports.contains(id),
    };
    Ok(files.iter().filter(is_kept).cloned().collect())
}

/// Those of these files that a row tells of: an output that was not deleted, with its thumbnail if it
/// has one, an upload that has arrived, an export that can be fetched.
///
/// # Errors
/// When the database fails.
pub async fn told(db: &impl ConnectionTrait, files: &[Named]) -> Result<HashSet<Named>, DbErr> {
    let owners = Owners::of(files);
    let outputs = outputs_of(db, owners.jobs).await?;
    let uploads: Vec<String> = stored_uploads()
        .select_only()
        .column(uploads::Column::Key)
        .filter(uploads::Column::Id.is_in(owners.uploads))
        .into_tuple()
        .all(db)
        .await?;
    let exports: Vec<Option<String>> = ready_exports()
        .select_only()
        .column(exports::Column::Key)
        .filter(exports::Column::Id.is_in(owners.exports))
        .into_tuple()
        .all(db)
        .await?;
    let is_told = |file: &&Named| match file.owner {
        Owner::Job(_) => outputs.contains(&(file.key.clone(), file.thumbnail)),
        Owner::Upload(_) => !file.thumbnail && uploads.contains(&file.key),
        Owner::Export(_) => !file.thumbnail && exports.iter().flatten().any(|key| *key == file.key),
    };
    Ok(files.iter().filter(is_told).cloned().collect())
}

/// Outputs that should have a file.
pub(super) fn stored_outputs() -> Select<outputs::Entity> {
    outputs::Entity::find().filter(outputs::Column::DeletedAt.is_null())
}

/// Uploads that should have a file.
pub(super) fn stored_uploads() -> Select<uploads::Entity> {
    uploads::Entity::find()
        .filter(uploads::Column::StoredAt.is_not_null())
        .filter(uploads::Column::DeletedAt.is_null())
}

/// Exports that should have a file.
pub(super) fn ready_exports() -> Select<exports::Entity> {
    exports::Entity::find().filter(exports::Column::State.eq(ExportState::Ready))
}

/// The files of these jobs' outputs: each key, for the picture (`false`) and its thumbnail (`true`).
async fn outputs_of(
    db: &impl ConnectionTrait,
    jobs: Vec<JobId>,
) -> Result<HashSet<(String, bool)>, DbErr> {
    let rows: Vec<(String, Option<String>)> = stored_outputs()
        .select_only()
        .columns([outputs::Column::Key, outputs::Column::ThumbnailType])
        .filter(outputs::Column::JobId.is_in(jobs))
        .into_tuple()
        .all(db)
        .await?;
    let mut files = HashSet::new();
    for (key, thumbnail) in rows {
        if thumbnail.is_some() {
            files.insert((key.clone(), true));
        }
        files.insert((key, false));
    }
    Ok(files)
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
