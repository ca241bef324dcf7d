//! `worker_pools`: which pools a worker process serves, and with how many calls at a time.

use sea_orm::entity::prelude::*;

use crate::{Timestamp, ids::ProcessId};

/// Which pools a worker process serves, and with how many calls at a time.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Eq)]
#[sea_orm(table_name = "worker_pools")]
pub struct Model {
    /// Its key.
    #[sea_orm(primary_key, auto_increment = false)]
    pub process_id: ProcessId,
    /// Its key.
    #[sea_orm(primary_key, auto_increment = false)]
    pub pool: String,
    /// Calls at the same time.
    pub capacity: i32,
    /// On the database's clock.
    pub seen_at: Timestamp,
}

/// Joins are written out where they are needed.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
