//! `audit_events`: something that happened to an account. Append-only.

use sea_orm::entity::prelude::*;

use crate::{
    Timestamp,
    ids::{AuditEventId, UserId},
};

/// Something that happened to an account. Append-only.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "audit_events")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: AuditEventId,
    /// When.
    pub at: Timestamp,
    /// Whose account.
    pub user_id: Option<UserId>,
    /// Who did it; null: nobody who is known, or the command line.
    pub actor_id: Option<UserId>,
    /// What; see `audit::Action`.
    pub action: String,
    /// From where.
    pub address: Option<String>,
    /// By which type of browser.
    pub browser: Option<String>,
    /// More about it, without personal words.
    #[sea_orm(column_type = "JsonBinary")]
    pub detail: Json,
}

/// Joins are written out where they are needed.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
