//! `users`: a person.

use sea_orm::entity::prelude::*;

use crate::{Timestamp, ids::UserId};

/// A person.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Eq)]
#[sea_orm(table_name = "users")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: UserId,
    /// In lower case.
    pub email: String,
    /// A name for people.
    pub name: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When the address was proven to be theirs.
    pub email_verified_at: Option<Timestamp>,
    /// Argon2id, in PHC form; null: they sign in in another way, or not at all.
    pub password_hash: Option<String>,
    /// What they may do beyond their own account.
    pub role: Role,
    /// When the person was erased; the row stays for what refers to it.
    pub erased_at: Option<Timestamp>,
}

/// What somebody may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum, serde::Serialize)]
#[sea_orm(rs_type = "String", db_type = "Text")]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// What is theirs.
    #[sea_orm(string_value = "user")]
    User,
    /// Run the platform.
    #[sea_orm(string_value = "operator")]
    Operator,
}

/// Joins are written out where they are needed.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
