//! `leader_leases`: who leads, by a lease on the database's clock.

use sea_orm::entity::prelude::*;

use crate::{Timestamp, ids::ProcessId};

/// Who leads, by a lease on the database's clock.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Eq)]
#[sea_orm(table_name = "leader_leases")]
pub struct Model {
    /// Its key.
    #[sea_orm(primary_key, auto_increment = false)]
    pub name: String,
    /// The leading process.
    pub holder: ProcessId,
    /// Rises with every change of leader.
    pub epoch: i64,
    /// On the database's clock.
    pub lease_until: Timestamp,
}

/// Joins are written out where they are needed.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
