//! `erasures`: the end of an account, and its receipt. Numbers and ids only: it names nobody.

use sea_orm::entity::prelude::*;

use crate::{
    Timestamp,
    ids::{ErasureId, UserId, WorkspaceId},
    privacy::{AskedBy, ErasureState},
};

/// The end of an account, and its receipt.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Eq)]
#[sea_orm(table_name = "erasures")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: ErasureId,
    /// The row that was a person.
    pub user_id: UserId,
    /// Their workspace, which the ledger still names.
    pub workspace_id: WorkspaceId,
    /// SHA-256 of the token that opens the receipt.
    pub token_hash: Vec<u8>,
    /// Keyed hashes of the person's addresses, 32 bytes each, to find mails to them that lie in a
    /// folder; null once they are gone.
    pub address_mark: Option<Vec<u8>>,
    /// Who asked for it.
    pub asked_by: AskedBy,
    /// How far it has come.
    pub state: ErasureState,
    /// When it was asked for; the person's own row was emptied at the same time.
    pub requested_at: Timestamp,
    /// When the last job had ended.
    pub drained_at: Option<Timestamp>,
    /// When nothing was left.
    pub erased_at: Option<Timestamp>,
    /// Jobs that were emptied.
    pub jobs: i64,
    /// Files of jobs that were deleted.
    pub files: i64,
    /// Uploads that were deleted.
    pub uploads: i64,
    /// Exports that were deleted.
    pub exports: i64,
    /// API keys that were deleted.
    pub api_keys: i64,
    /// Sessions that were ended.
    pub sessions: i64,
    /// Rows of logs that were deleted or emptied.
    pub log_rows: i64,
    /// Copies that providers are asked to delete.
    pub copies_asked: i64,
    /// Copies that providers have deleted.
    pub copies_deleted: i64,
    /// Copies that providers do not delete on demand; their own retention ends them.
    pub copies_kept: i64,
}

/// Joins are written out where they are needed.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
