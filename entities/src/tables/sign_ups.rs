//! `sign_ups`: somebody who signed up and has not proven their address yet. There is no account
//! until then; a row that nobody claims is deleted when its time is over.

use sea_orm::entity::prelude::*;

use crate::{Timestamp, ids::SignUpId};

/// Somebody who signed up and has not proven their address yet.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Eq)]
#[sea_orm(table_name = "sign_ups")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: SignUpId,
    /// In lower case.
    pub email: String,
    /// A name for people.
    pub name: Option<String>,
    /// Argon2id, in PHC form.
    pub password_hash: String,
    /// From where.
    pub address: Option<String>,
    /// By which type of browser.
    pub browser: Option<String>,
    /// When they signed up.
    pub created_at: Timestamp,
    /// The link works until then, and once.
    pub expires_at: Timestamp,
}

/// Joins are written out where they are needed.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
