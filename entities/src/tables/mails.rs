//! `mails`: a mail that waits to be sent; deleted when it was.

use sea_orm::entity::prelude::*;

use crate::{
    Timestamp,
    ids::{MailId, UserId},
};

/// A mail that waits to be sent; deleted when it was.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Eq)]
#[sea_orm(table_name = "mails")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: MailId,
    /// Whose account it is about; null until somebody has looked whether there is one.
    pub user_id: Option<UserId>,
    /// What it says.
    pub template: String,
    /// Where it goes.
    pub recipient: String,
    /// What the link in it is good for: a sign-up or a token.
    pub token_id: Option<Uuid>,
    /// When it was written.
    pub created_at: Timestamp,
    /// How often sending began.
    pub attempts: i32,
    /// When it is tried next.
    pub next_at: Timestamp,
}

/// Joins are written out where they are needed.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
