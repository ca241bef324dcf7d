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
}

/// Joins are written out where they are needed.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
