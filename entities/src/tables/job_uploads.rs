//! `job_uploads`: which uploads a job uses.

use sea_orm::entity::prelude::*;

use crate::ids::{JobId, UploadId};

/// A job's use of an upload.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Eq)]
#[sea_orm(table_name = "job_uploads")]
pub struct Model {
    /// The job.
    #[sea_orm(primary_key, auto_increment = false)]
    pub job_id: JobId,
    /// The upload.
    #[sea_orm(primary_key, auto_increment = false)]
    pub upload_id: UploadId,
}

/// Joins are written out where they are needed.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
