//! `breakers`: what is known of a route's health. All times are on the database's clock.

use sea_orm::entity::prelude::*;

use crate::{
    Timestamp,
    routing::{Cause, Trouble},
};

/// What is known of a route's health.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Eq)]
#[sea_orm(table_name = "breakers")]
pub struct Model {
    /// Its key.
    #[sea_orm(primary_key, auto_increment = false)]
    pub provider: String,
    /// Its key: the provider's name of the model.
    #[sea_orm(primary_key, auto_increment = false)]
    pub model: String,
    /// When the counts began.
    pub window_from: Timestamp,
    /// Calls with a verdict since then.
    pub calls: i64,
    /// Those that failed.
    pub failures: i64,
    /// Failures in a row.
    pub failed_row: i64,
    /// Why it is open; null while it is closed.
    pub cause: Option<Cause>,
    /// Since when.
    pub opened_at: Option<Timestamp>,
    /// How often it opened since it was closed last.
    pub opens: i64,
    /// When it may be tried.
    pub retry_at: Option<Timestamp>,
    /// When it was tried last.
    pub probed_at: Option<Timestamp>,
    /// The provider asked for patience until then.
    pub throttled_until: Option<Timestamp>,
    /// What went wrong last.
    pub trouble: Option<Trouble>,
    /// When.
    pub trouble_at: Option<Timestamp>,
}

/// Joins are written out where they are needed.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
