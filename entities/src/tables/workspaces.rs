//! `workspaces`: the owner of a wallet, jobs, keys and limits.

use sea_orm::entity::prelude::*;

use crate::{
    Timestamp,
    ids::{UserId, WorkspaceId},
};

/// The owner of a wallet, jobs, keys and limits.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Eq)]
#[sea_orm(table_name = "workspaces")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: WorkspaceId,
    /// The person who owns it.
    pub owner_id: UserId,
    /// A name for people.
    pub name: String,
    /// How many of its jobs may be dispatched at once.
    pub dispatch_limit: i32,
    /// How many are; one slot for each dispatched, unfinished job.
    pub dispatched: i32,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Joins are written out where they are needed.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
