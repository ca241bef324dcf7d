//! `api_keys`: an API key; only a hash of the secret.

use sea_orm::entity::prelude::*;

use crate::{
    Credits, Timestamp,
    accounts::{Scopes, SpendPeriod},
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
    /// What it may do.
    pub scopes: Scopes,
    /// When it stops working by itself.
    pub expires_at: Option<Timestamp>,
    /// The most that it may hold or spend in one period; null when its wallet is the only limit.
    pub spend_limit: Option<Credits>,
    /// The period; null together with the limit.
    pub spend_period: Option<SpendPeriod>,
}

/// Joins are written out where they are needed.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
