//! `throttles`: how soon something may be tried again. The key is a keyed hash: it tells nobody who.

use sea_orm::entity::prelude::*;

use crate::Timestamp;

/// How soon something may be tried again. The key is a keyed hash: it tells nobody who.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Eq)]
#[sea_orm(table_name = "throttles")]
pub struct Model {
    /// Who tries what.
    #[sea_orm(primary_key, auto_increment = false)]
    pub key: Vec<u8>,
    /// When nothing is counted any more; the theoretical arrival time of GCRA.
    pub free_at: Timestamp,
}

/// Joins are written out where they are needed.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
