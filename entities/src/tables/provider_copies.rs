//! `provider_copies`: what a provider is to be asked to delete. A row goes when it has answered.

use sea_orm::entity::prelude::*;

use crate::{
    Timestamp,
    ids::{AttemptId, ErasureId},
};

/// What a provider is to be asked to delete.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Eq)]
#[sea_orm(table_name = "provider_copies")]
pub struct Model {
    /// The call that left it there.
    #[sea_orm(primary_key, auto_increment = false)]
    pub attempt_id: AttemptId,
    /// The receipt that tells of it.
    pub erasure_id: ErasureId,
    /// Who is asked.
    pub provider: String,
    /// The provider's id of the call.
    pub request_id: String,
    /// How often it was asked.
    pub tries: i32,
    /// When it is asked next.
    pub next_try_at: Timestamp,
    /// When it was first due.
    pub asked_at: Timestamp,
}

/// Joins are written out where they are needed.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
