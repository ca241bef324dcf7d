//! `holds`: the credits that one job holds; closed exactly once.

use sea_orm::entity::prelude::*;

use crate::{
    Credits, Timestamp,
    ids::{JobId, WorkspaceId},
};

/// The credits that one job holds; closed exactly once.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Eq)]
#[sea_orm(table_name = "holds")]
pub struct Model {
    /// The job.
    #[sea_orm(primary_key, auto_increment = false)]
    pub job_id: JobId,
    /// The owner.
    pub workspace_id: WorkspaceId,
    /// How much.
    pub amount: Credits,
    /// How much became a sale.
    pub captured: Credits,
    /// How much went back.
    pub released: Credits,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// Null while it is open.
    pub closed_at: Option<Timestamp>,
}

/// Joins are written out where they are needed.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
