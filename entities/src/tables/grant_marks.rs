//! `grant_marks`: addresses that had their free credits, as keyed hashes that only the holder of the
//! master secret can compare with an address.

use sea_orm::entity::prelude::*;

use crate::Timestamp;

/// An address that had its free credits.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Eq)]
#[sea_orm(table_name = "grant_marks")]
pub struct Model {
    /// The keyed hash.
    #[sea_orm(primary_key, auto_increment = false)]
    pub mark: Vec<u8>,
    /// When it was made.
    pub made_at: Timestamp,
}

/// Joins are written out where they are needed.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
