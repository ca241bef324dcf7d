//! `api_keys`: an API key; only a hash of the secret.

use sea_orm::entity::prelude::*;

use crate::{
    Timestamp,
    ids::{ApiKeyId, UserId, WorkspaceId},
};

/// An API key; only a hash of the secret.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Eq)]
#[sea_orm(table_name = "api_keys")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: ApiKeyId,
    /// The owner.
    pub workspace_id: WorkspaceId,
    /// The person.
    pub user_id: UserId,
    /// A name for people.
    pub name: String,
    /// The secret's last characters, to tell keys apart.
    pub hint: String,
    /// SHA-256 of the secret.
    pub hash: Vec<u8>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Written in batches, so it may lag by a minute.
    pub last_used_at: Option<Timestamp>,
    /// Null while it works.
    pub revoked_at: Option<Timestamp>,
}

/// Joins are written out where they are needed.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
