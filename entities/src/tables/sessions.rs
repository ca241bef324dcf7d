//! `sessions`: a signed-in browser; only a hash of its cookie.

use sea_orm::entity::prelude::*;

use crate::{
    Timestamp,
    ids::{SessionId, UserId, WorkspaceId},
};

/// A signed-in browser; only a hash of its cookie.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Eq)]
#[sea_orm(table_name = "sessions")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: SessionId,
    /// The person.
    pub user_id: UserId,
    /// Whose wallet and jobs.
    pub workspace_id: WorkspaceId,
    /// SHA-256 of the cookie.
    pub hash: Vec<u8>,
    /// How they signed in: `password`, `google` or `mail`.
    pub method: String,
    /// From where.
    pub address: Option<String>,
    /// By which type of browser.
    pub browser: Option<String>,
    /// When they signed in.
    pub created_at: Timestamp,
    /// Written now and then, so it may lag by a few minutes.
    pub last_seen_at: Timestamp,
    /// When it ends whatever happens.
    pub expires_at: Timestamp,
}

/// Joins are written out where they are needed.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
