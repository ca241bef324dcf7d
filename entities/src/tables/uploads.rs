//! `uploads`: a media file that a user handed in.

use sea_orm::entity::prelude::*;

use crate::{
    Timestamp,
    ids::{UploadId, WorkspaceId},
};

/// A media file that a user handed in.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Eq)]
#[sea_orm(table_name = "uploads")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: UploadId,
    /// The owner.
    pub workspace_id: WorkspaceId,
    /// Its name in the media store.
    pub key: String,
    /// It came with a job, as a URL or as data, and goes with its jobs.
    pub made_for_job: bool,
    /// Found in the bytes.
    pub content_type: String,
    /// Its size.
    pub bytes: i64,
    /// Its checksum, hexadecimal.
    pub sha256: String,
    /// In pixels.
    pub width: Option<i32>,
    /// In pixels.
    pub height: Option<i32>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Null while its file is still arriving.
    pub stored_at: Option<Timestamp>,
    /// When it is deleted, unless a job still keeps it.
    pub expires_at: Timestamp,
    /// Nobody may use it any more; its file and this row go next.
    pub deleted_at: Option<Timestamp>,
}

/// Joins are written out where they are needed.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
