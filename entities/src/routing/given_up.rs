//! Calls that were given up without a verdict, and what they may have cost: their answer was lost and
//! not found again, or they did not end in time. The provider may charge us for them.
//!
//! The sum stands in the attempts themselves. A cost that is known later takes the place of the
//! possible one, and the call is none of these any more.

use std::collections::BTreeMap;

use sea_orm::{ActiveValue::Set, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter};

use super::RouteKey;
use crate::{
    catalogue::Resolved,
    db::sql,
    ids::AttemptId,
    tables::{attempts, jobs},
};

/// Calls on one route that were given up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GivenUp {
    /// How many.
    pub calls: i64,
    /// The most that they may have cost, in millionths of a US dollar.
    pub possible_cost_usd_micros: i64,
}

impl GivenUp {
    /// These and others together.
    #[must_use]
    pub fn plus(self, more: Self) -> Self {
        let (cost, other) = (self.possible_cost_usd_micros, more.possible_cost_usd_micros);
        Self {
            calls: self.calls.saturating_add(more.calls),
            possible_cost_usd_micros: cost.saturating_add(other),
        }
    }
}

/// By route; a route without such calls is not there.
///
/// # Errors
/// When the database fails.
pub async fn given_up(db: &impl ConnectionTrait) -> Result<BTreeMap<RouteKey, GivenUp>, DbErr> {
    let text = "SELECT provider, provider_model, count(*) AS calls, \
                CAST(sum(possible_cost_usd_micros) AS bigint) AS cost FROM attempts \
                WHERE possible_cost_usd_micros IS NOT NULL GROUP BY provider, provider_model";
    let rows = db.query_all_raw(sql(db, text, [])).await?;
    let route = |row: &sea_orm::QueryResult| {
        let (provider, model): (String, String) =
            (row.try_get("", "provider")?, row.try_get("", "provider_model")?);
        let found = GivenUp {
            calls: row.try_get("", "calls")?,
            possible_cost_usd_micros: row.try_get("", "cost")?,
        };
        Ok((RouteKey { provider, model }, found))
    };
    rows.iter().map(route).collect()
}

/// Notes what a call of this job that is given up may have cost, unless what it cost is known.
pub(crate) async fn note_possible_cost(
    db: &impl ConnectionTrait,
    job: &jobs::Model,
    attempt_id: AttemptId,
) -> Result<(), DbErr> {
    let Some(most) = most(job) else { return Ok(()) };
    attempts::Entity::update_many()
        .set(attempts::ActiveModel {
            possible_cost_usd_micros: Set(Some(most)),
            ..Default::default()
        })
        .filter(attempts::Column::Id.eq(attempt_id))
        .filter(attempts::Column::CostUsdMicros.is_null())
        .exec(db)
        .await?;
    Ok(())
}

/// The most that a call on the job's route can cost. `None`: the job is of a time when nobody knew.
fn most(job: &jobs::Model) -> Option<i64> {
    let mut resolved: Resolved = serde_json::from_value(job.resolved.clone()).ok()?;
    let index = usize::try_from(job.route).ok().filter(|index| *index < resolved.routes.len())?;
    let route = resolved.routes.swap_remove(index);
    match route.unit_usd_micros {
        None => Some(0),
        Some(_) => route.worst_usd_micros,
    }
}
