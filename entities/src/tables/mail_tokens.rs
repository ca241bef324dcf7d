//! `mail_tokens`: a link that was sent by mail. The secret in it is derived from the id, and is not stored.

use sea_orm::entity::prelude::*;

use crate::{
    Timestamp,
    ids::{MailTokenId, UserId},
};

/// A link that was sent by mail. The secret in it is derived from the id, and is not stored.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Eq)]
#[sea_orm(table_name = "mail_tokens")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: MailTokenId,
    /// Whose.
    pub user_id: UserId,
    /// What it is good for: `verify`, `reset` …
    pub purpose: String,
    /// The address it was sent to, and proves.
    pub email: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// It works until then, and once.
    pub expires_at: Timestamp,
}

/// Joins are written out where they are needed.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
