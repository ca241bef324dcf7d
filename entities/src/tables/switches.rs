//! `switches`: what an operator switched off; a row is there as long as it is off.

use sea_orm::entity::prelude::*;

use crate::Timestamp;

/// What an operator switched off.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Eq)]
#[sea_orm(table_name = "switches")]
pub struct Model {
    /// Its key.
    #[sea_orm(primary_key, auto_increment = false)]
    pub provider: String,
    /// Its key: the provider's name of the model; empty for all of the provider.
    #[sea_orm(primary_key, auto_increment = false)]
    pub model: String,
    /// Why.
    pub reason: String,
    /// On the database's clock.
    pub off_at: Timestamp,
}

/// Joins are written out where they are needed.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
