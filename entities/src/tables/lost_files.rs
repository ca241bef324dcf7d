//! `lost_files`: files that a row tells of and the media store does not have.

use sea_orm::entity::prelude::*;

use crate::Timestamp;

/// A file that a row tells of and the media store does not have.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Eq)]
#[sea_orm(table_name = "lost_files")]
pub struct Model {
    /// Its name in the media store.
    #[sea_orm(primary_key, auto_increment = false)]
    pub key: String,
    /// When it was missed first.
    pub found_at: Timestamp,
}

/// Joins are written out where they are needed.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
