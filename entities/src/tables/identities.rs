//! `identities`: a person as another service knows them.

use sea_orm::entity::prelude::*;

use crate::{
    Timestamp,
    ids::{IdentityId, UserId},
};

/// A person as another service knows them.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Eq)]
#[sea_orm(table_name = "identities")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: IdentityId,
    /// Which service, such as `google`.
    pub provider: String,
    /// Its own unchanging id for the person; unique with the service.
    pub subject: String,
    /// The person here.
    pub user_id: UserId,
    /// The address it gave when they were joined; it may have changed there since.
    pub email: Option<String>,
    /// When they were joined.
    pub created_at: Timestamp,
}

/// Joins are written out where they are needed.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
