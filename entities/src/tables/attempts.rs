//! `attempts`: one call to a provider; written before the call goes out.

use sea_orm::entity::prelude::*;

use crate::{
    Timestamp,
    ids::{AttemptId, JobId},
    job::AttemptOutcome,
};

/// One call to a provider; written before the call goes out.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "attempts")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: AttemptId,
    /// The job.
    pub job_id: JobId,
    /// 1 for the first.
    pub number: i32,
    /// The index of the route.
    pub route: i32,
    /// Who was called.
    pub provider: String,
    /// The provider's name of the model.
    pub provider_model: String,
    /// How it ended, or where it stands.
    pub outcome: AttemptOutcome,
    /// The provider's id; unique per provider.
    pub request_id: Option<String>,
    /// What later calls need besides the id.
    #[sea_orm(column_type = "JsonBinary", nullable)]
    pub handle: Option<Json>,
    /// When the intent was written.
    pub started_at: Timestamp,
    /// When the provider accepted it.
    pub accepted_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// What it cost us.
    pub cost_usd_micros: Option<i64>,
    /// How much the provider says that it used: millionths of the unit that it bills by.
    pub billed_units_micros: Option<i64>,
    /// The most that it may have cost us, if it was given up without a verdict and the cost is not
    /// known.
    pub possible_cost_usd_micros: Option<i64>,
}

/// Joins are written out where they are needed.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
