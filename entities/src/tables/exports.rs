//! `exports`: a copy of a person's data that they asked for.

use sea_orm::entity::prelude::*;

use crate::{
    Timestamp,
    ids::{ExportId, UserId, WorkspaceId},
    privacy::ExportState,
};

/// A copy of a person's data that they asked for.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Eq)]
#[sea_orm(table_name = "exports")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: ExportId,
    /// Whose data it is.
    pub user_id: UserId,
    /// Their workspace.
    pub workspace_id: WorkspaceId,
    /// Where it stands.
    pub state: ExportState,
    /// Rises with every claim; guards every change of whoever builds it.
    pub epoch: i64,
    /// How often somebody began to build it.
    pub tries: i32,
    /// On the database's clock.
    pub lease_until: Option<Timestamp>,
    /// Its file in the media store.
    pub key: Option<String>,
    /// The file's size.
    pub bytes: Option<i64>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When its file was whole.
    pub ready_at: Option<Timestamp>,
    /// When file and row are deleted.
    pub expires_at: Timestamp,
}

/// Joins are written out where they are needed.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
