//! `key_spending`: what a key with a spending limit holds or has spent in one period.

use sea_orm::entity::prelude::*;

use crate::{Credits, ids::ApiKeyId};

/// What a key with a spending limit holds or has spent in one period. It changes only in a
/// transaction that has locked the wallet of the key's workspace.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Eq)]
#[sea_orm(table_name = "key_spending")]
pub struct Model {
    /// The key.
    #[sea_orm(primary_key, auto_increment = false)]
    pub key_id: ApiKeyId,
    /// A day (`2026-11-26`) or a month (`2026-11`), in UTC.
    #[sea_orm(primary_key, auto_increment = false)]
    pub period: String,
    /// What its jobs hold or were charged; what was released does not count.
    pub spent: Credits,
}

/// Joins are written out where they are needed.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
