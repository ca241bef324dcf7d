//! `entry_notes`: the words of a ledger entry, which can be erased.

use sea_orm::entity::prelude::*;

use crate::ids::EntryId;

/// The words of a ledger entry, which can be erased.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Eq)]
#[sea_orm(table_name = "entry_notes")]
pub struct Model {
    /// The entry.
    #[sea_orm(primary_key, auto_increment = false)]
    pub entry_id: EntryId,
    /// For people.
    pub note: String,
}

/// Joins are written out where they are needed.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
