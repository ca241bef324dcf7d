//! `outputs`: a media file that a job made.

use sea_orm::entity::prelude::*;

use crate::{
    Timestamp,
    ids::{JobId, OutputId, WorkspaceId},
};

/// A media file that a job made.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Eq)]
#[sea_orm(table_name = "outputs")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: OutputId,
    /// The job.
    pub job_id: JobId,
    /// The owner.
    pub workspace_id: WorkspaceId,
    /// 0 for the first.
    pub position: i32,
    /// Its name in the media store.
    pub key: String,
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
    /// For moving pictures.
    pub duration_ms: Option<i64>,
    /// What its thumbnail is. `None` (here and in the next three): it has none of its own.
    pub thumbnail_type: Option<String>,
    /// The thumbnail's size.
    pub thumbnail_bytes: Option<i64>,
    /// In pixels.
    pub thumbnail_width: Option<i32>,
    /// In pixels.
    pub thumbnail_height: Option<i32>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its file was deleted; the row stays as proof of delivery.
    pub deleted_at: Option<Timestamp>,
}

/// Joins are written out where they are needed.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
