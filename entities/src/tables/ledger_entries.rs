//! `ledger_entries`: one transfer between two accounts; never edited or deleted. Ids only, no words.

use sea_orm::entity::prelude::*;

use crate::{
    Credits, Timestamp,
    ids::{EntryId, WorkspaceId},
    ledger::{Account, EntryKind},
};

/// One transfer between two accounts; never edited or deleted. Ids only, no words.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Eq)]
#[sea_orm(table_name = "ledger_entries")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: EntryId,
    /// The owner.
    pub workspace_id: WorkspaceId,
    /// What kind it is.
    pub kind: EntryKind,
    /// What caused it; with `kind` it is unique, so nothing is booked twice.
    pub reference: Uuid,
    /// Where the credits came from.
    pub from_account: Account,
    /// Where they went.
    pub to_account: Account,
    /// Above zero.
    pub amount: Credits,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Joins are written out where they are needed.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
