//! `idempotency_keys`: the answer to a submit, by the key that its client chose.

use sea_orm::entity::prelude::*;

use crate::{
    Timestamp,
    ids::{JobId, WorkspaceId},
};

/// The answer to a submit, by the key that its client chose.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Eq)]
#[sea_orm(table_name = "idempotency_keys")]
pub struct Model {
    /// The owner.
    #[sea_orm(primary_key, auto_increment = false)]
    pub workspace_id: WorkspaceId,
    /// Its key.
    #[sea_orm(primary_key, auto_increment = false)]
    pub key: String,
    /// SHA-256 of the canonical request.
    pub body_hash: Vec<u8>,
    /// The job.
    pub job_id: JobId,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Joins are written out where they are needed.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
