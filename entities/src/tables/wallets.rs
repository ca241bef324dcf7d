//! `wallets`: the cached balances of a workspace; the ledger is the truth.

use sea_orm::entity::prelude::*;

use crate::{Credits, ids::WorkspaceId};

/// The cached balances of a workspace; the ledger is the truth.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Eq)]
#[sea_orm(table_name = "wallets")]
pub struct Model {
    /// The owner.
    #[sea_orm(primary_key, auto_increment = false)]
    pub workspace_id: WorkspaceId,
    /// Free to be held.
    pub available: Credits,
    /// Promised to jobs that are not settled.
    pub held: Credits,
}

/// Joins are written out where they are needed.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
