//! Breakers and operators' switches in the database.

use std::collections::BTreeMap;

use sea_orm::{
    ActiveModelTrait as _, ActiveValue::Set, ConnectionTrait, DatabaseBackend, DatabaseTransaction,
    DbErr, EntityTrait, IntoActiveModel as _, QuerySelect as _, sea_query::OnConflict,
};
use serde::Serialize;

use super::{Breaker, Report, wake};
use crate::{
    Timestamp,
    db::database_now,
    tables::{breakers, switches},
};

/// A route: a provider, and its own name of a model.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct RouteKey {
    /// Who.
    pub provider: String,
    /// What.
    pub model: String,
}

impl RouteKey {
    /// The route to `model` at `provider`.
    #[must_use]
    pub fn new(provider: &str, model: &str) -> Self {
        Self { provider: provider.to_owned(), model: model.to_owned() }
    }
}

/// What an operator switched off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Switch {
    /// Whose.
    pub provider: String,
    /// Which model of it; `None`: all.
    pub model: Option<String>,
    /// Why.
    pub reason: String,
    /// When.
    pub off_at: Timestamp,
}

/// Everything that is known of routes, at one time on the database's clock.
#[derive(Debug, Clone, Default)]
pub struct Board {
    /// When.
    pub now: Timestamp,
    /// A route that is not here has no history.
    pub breakers: BTreeMap<RouteKey, Breaker>,
    /// What is switched off.
    pub switches: Vec<Switch>,
}

impl Board {
    /// What switches this route off, if anything does: the provider's switch before its own.
    #[must_use]
    pub fn switch(&self, provider: &str, model: &str) -> Option<&Switch> {
        let about = |switch: &&Switch| {
            switch.provider == provider && switch.model.as_deref().is_none_or(|name| name == model)
        };
        self.switches.iter().filter(about).min_by_key(|switch| switch.model.is_some())
    }
}

/// What the database knows of routes.
///
/// # Errors
/// When the database fails.
pub async fn read(db: &impl ConnectionTrait) -> Result<Board, DbErr> {
    let now = database_now(db).await?;
    let breakers = breakers::Entity::find().all(db).await?;
    let switches = switches::Entity::find().all(db).await?;
    Ok(Board {
        now,
        breakers: breakers.into_iter().map(of_row).collect(),
        switches: switches
            .into_iter()
            .map(|row| Switch {
                provider: row.provider,
                model: Some(row.model).filter(|model| !model.is_empty()),
                reason: row.reason,
                off_at: row.off_at,
            })
            .collect(),
    })
}

/// Takes in what calls tell of a route, in their order; the jobs that waited for a route that
/// closes are woken. `job_now` is the time by which jobs wait. Answers with the breaker as it is now.
///
/// # Errors
/// When the database fails.
pub async fn report(
    tx: &DatabaseTransaction,
    key: &RouteKey,
    reports: &[Report],
    job_now: Timestamp,
    dice: f64,
) -> Result<Breaker, DbErr> {
    let (mut breaker, now) = lock(tx, key).await?;
    let was_open = breaker.cause.is_some();
    for report in reports {
        breaker.record(*report, now, dice);
    }
    save(tx, key, &breaker).await?;
    if was_open && breaker.cause.is_none() {
        wake(tx, &key.provider, job_now).await?;
    }
    Ok(breaker)
}

/// Takes the turn to try a half-open route. `false`: another process has it.
///
/// # Errors
/// When the database fails.
pub async fn probe(tx: &DatabaseTransaction, key: &RouteKey) -> Result<bool, DbErr> {
    let (mut breaker, now) = lock(tx, key).await?;
    let mine = breaker.probe(now);
    if mine {
        save(tx, key, &breaker).await?;
    }
    Ok(mine)
}

/// Switches a provider, or its route to `model`, off: it gets no new calls. Said again, the newer
/// reason counts.
///
/// # Errors
/// When the database fails.
pub async fn switch_off(
    db: &impl ConnectionTrait,
    provider: &str,
    model: Option<&str>,
    reason: &str,
) -> Result<Switch, DbErr> {
    let off_at = database_now(db).await?;
    let row = switches::ActiveModel {
        provider: Set(provider.to_owned()),
        model: Set(model.unwrap_or_default().to_owned()),
        reason: Set(reason.to_owned()),
        off_at: Set(off_at),
    };
    let again = OnConflict::columns([switches::Column::Provider, switches::Column::Model])
        .update_columns([switches::Column::Reason, switches::Column::OffAt])
        .to_owned();
    switches::Entity::insert(row).on_conflict(again).exec_without_returning(db).await?;
    Ok(Switch {
        provider: provider.to_owned(),
        model: model.map(str::to_owned),
        reason: reason.to_owned(),
        off_at,
    })
}

/// Switches it on again and wakes the jobs that wait for it. A provider's switch and those of its
/// routes are apart: each is switched on by itself. `false`: it was on.
///
/// # Errors
/// When the database fails.
pub async fn switch_on(
    tx: &DatabaseTransaction,
    provider: &str,
    model: Option<&str>,
    job_now: Timestamp,
) -> Result<bool, DbErr> {
    let key = (provider.to_owned(), model.unwrap_or_default().to_owned());
    let deleted = switches::Entity::delete_by_id(key).exec(tx).await?;
    if deleted.rows_affected == 0 {
        return Ok(false);
    }
    wake(tx, provider, job_now).await?;
    Ok(true)
}

/// The breaker, locked, and the database's time.
async fn lock(tx: &DatabaseTransaction, key: &RouteKey) -> Result<(Breaker, Timestamp), DbErr> {
    let row = to_row(key, &Breaker::default()).into_active_model();
    let there = OnConflict::columns([breakers::Column::Provider, breakers::Column::Model])
        .do_nothing()
        .to_owned();
    breakers::Entity::insert(row).on_conflict(there).exec_without_returning(tx).await?;
    let mut find = breakers::Entity::find_by_id((key.provider.clone(), key.model.clone()));
    if tx.get_database_backend() == DatabaseBackend::Postgres {
        find = find.lock_exclusive();
    }
    let row = find.one(tx).await?;
    let row = row.ok_or_else(|| DbErr::RecordNotFound(format!("{key:?}")))?;
    // After the lock: whoever had it before has an earlier time.
    let now = database_now(tx).await?;
    Ok((of_row(row).1, now))
}

async fn save(tx: &DatabaseTransaction, key: &RouteKey, breaker: &Breaker) -> Result<(), DbErr> {
    let row = to_row(key, breaker).into_active_model().reset_all();
    breakers::Entity::update(row).exec(tx).await.map(drop)
}

fn of_row(row: breakers::Model) -> (RouteKey, Breaker) {
    let breaker = Breaker {
        window_from: row.window_from,
        calls: row.calls,
        failures: row.failures,
        row: row.failed_row,
        cause: row.cause,
        opened_at: row.opened_at,
        opens: row.opens,
        retry_at: row.retry_at,
        probed_at: row.probed_at,
        throttled_until: row.throttled_until,
        trouble: row.trouble,
        trouble_at: row.trouble_at,
    };
    (RouteKey { provider: row.provider, model: row.model }, breaker)
}

fn to_row(key: &RouteKey, breaker: &Breaker) -> breakers::Model {
    breakers::Model {
        provider: key.provider.clone(),
        model: key.model.clone(),
        window_from: breaker.window_from,
        calls: breaker.calls,
        failures: breaker.failures,
        failed_row: breaker.row,
        cause: breaker.cause,
        opened_at: breaker.opened_at,
        opens: breaker.opens,
        retry_at: breaker.retry_at,
        probed_at: breaker.probed_at,
        throttled_until: breaker.throttled_until,
        trouble: breaker.trouble,
        trouble_at: breaker.trouble_at,
    }
}
