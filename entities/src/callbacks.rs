//! What providers report about their calls, from its arrival to a worker's verdict.
//!
//! A callback is stored as it came, also a second or a late one, up to [`MOST`] for a call. What it
//! says is never believed: it brings the next poll forward, or binds a call whose answer was lost
//! (`job::bound`). It is deleted with its job's content.

use std::collections::HashMap;

use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, PaginatorTrait as _,
    QueryFilter, QueryOrder, QuerySelect, sea_query::Expr,
};

use crate::{
    Effects, Timestamp,
    db::{for_update, sql},
    ids::{AttemptId, CallbackId, JobId},
    job::JobState,
    tables::{attempts, callbacks, jobs},
};

/// How many are stored of one call.
pub const MOST: u64 = 20;

/// A callback that has come.
#[derive(Debug, Clone)]
pub struct NewCallback {
    /// The call it is about.
    pub attempt_id: AttemptId,
    /// Whose address was called.
    pub provider: String,
    /// Its headers.
    pub headers: serde_json::Value,
    /// Its body.
    pub body: Vec<u8>,
    /// Now.
    pub received_at: Timestamp,
}

/// A callback that waits for a verdict, with what it is about.
#[derive(Debug, Clone)]
pub struct Waiting {
    /// The callback.
    pub callback: callbacks::Model,
    /// The call.
    pub attempt: attempts::Model,
    /// Its job.
    pub job: jobs::Model,
    /// Whether it is the job's newest call.
    pub newest: bool,
}

/// Stores a callback. `None`: the provider was never called so. Beyond the limit, or when the
/// job's content is gone, nothing is stored and nothing is asked for.
///
/// # Errors
/// When the database fails.
pub async fn store(db: &impl ConnectionTrait, new: &NewCallback) -> Result<Option<Effects>, DbErr> {
    let attempt = attempts::Entity::find_by_id(new.attempt_id)
        .filter(attempts::Column::Provider.eq(new.provider.as_str()))
        .one(db)
        .await?;
    let Some(attempt) = attempt else { return Ok(None) };
    let stored = callbacks::Entity::find()
        .filter(callbacks::Column::AttemptId.eq(new.attempt_id))
        .count(db)
        .await?;
    if stored >= MOST {
        return Ok(Some(Effects::default()));
    }
    // The job's row is locked: content that goes in the same moment takes the callback along, or
    // keeps it out.
    let text = format!(
        "INSERT INTO callbacks (id, attempt_id, provider, received_at, headers, body) \
         SELECT $1, $2, $3, $4, $5, $6 FROM jobs WHERE id = $7 AND erased_at IS NULL{}",
        for_update(db.get_database_backend())
    );
    let values = [
        CallbackId::generate().0.into(),
        new.attempt_id.0.into(),
        new.provider.as_str().into(),
        new.received_at.0.into(),
        new.headers.clone().into(),
        new.body.clone().into(),
        attempt.job_id.0.into(),
    ];
    if db.execute_raw(sql(db, text, values)).await?.rows_affected() == 0 {
        return Ok(Some(Effects::default()));
    }
    let callbacks = [new.provider.clone()].into_iter().collect();
    Ok(Some(Effects { callbacks, ..Effects::default() }))
}

/// Up to `limit` callbacks of the provider that wait for a verdict, oldest first, after `after`.
///
/// # Errors
/// When the database fails.
pub async fn waiting(
    db: &impl ConnectionTrait,
    provider: &str,
    after: Option<CallbackId>,
    limit: u64,
) -> Result<Vec<Waiting>, DbErr> {
    let mut query = callbacks::Entity::find()
        .filter(callbacks::Column::Provider.eq(provider))
        .filter(callbacks::Column::ProcessedAt.is_null())
        .order_by_asc(callbacks::Column::Id)
        .limit(limit);
    if let Some(after) = after {
        query = query.filter(callbacks::Column::Id.gt(after));
    }
    let waiting = query.all(db).await?;
    let calls = waiting.iter().map(|callback| callback.attempt_id);
    let calls: HashMap<AttemptId, attempts::Model> = attempts::Entity::find()
        .filter(attempts::Column::Id.is_in(calls))
        .all(db)
        .await?
        .into_iter()
        .map(|attempt| (attempt.id, attempt))
        .collect();
    let owners = calls.values().map(|attempt| attempt.job_id);
    let owners: HashMap<JobId, jobs::Model> = jobs::Entity::find()
        .filter(jobs::Column::Id.is_in(owners))
        .all(db)
        .await?
        .into_iter()
        .map(|job| (job.id, job))
        .collect();
    let found = waiting.into_iter().filter_map(|callback| {
        let attempt = calls.get(&callback.attempt_id)?.clone();
        let job = owners.get(&attempt.job_id)?.clone();
        let newest = attempt.number == job.attempts;
        Some(Waiting { callback, attempt, job, newest })
    });
    Ok(found.collect())
}

/// Notes what a callback was good for. `false`: someone else has judged it.
///
/// # Errors
/// When the database fails.
pub async fn judged(
    db: &impl ConnectionTrait,
    id: CallbackId,
    verdict: &str,
    now: Timestamp,
) -> Result<bool, DbErr> {
    let done = callbacks::Entity::update_many()
        .set(callbacks::ActiveModel {
            processed_at: Set(Some(now)),
            verdict: Set(Some(verdict.to_owned())),
            ..Default::default()
        })
        .filter(callbacks::Column::Id.eq(id))
        .filter(callbacks::Column::ProcessedAt.is_null())
        .exec(db)
        .await?;
    Ok(done.rows_affected == 1)
}

/// Brings the next look at a job forward to now; nothing else of it changes. `false`: nobody waits
/// for its provider, or a look goes on at this moment.
///
/// # Errors
/// When the database fails.
pub async fn wake(db: &impl ConnectionTrait, job_id: JobId, now: Timestamp) -> Result<bool, DbErr> {
    let woken = jobs::Entity::update_many()
        .col_expr(
            jobs::Column::NextPollAt,
            // Numbers only: nothing from outside stands in this text.
            Expr::cust(format!(
                "CASE WHEN next_poll_at > {now} THEN {now} ELSE next_poll_at END",
                now = now.0
            )),
        )
        .filter(jobs::Column::Id.eq(job_id))
        .filter(jobs::Column::State.is_in([JobState::Running, JobState::Uncertain]))
        .filter(jobs::Column::NextPollAt.is_not_null())
        .filter(jobs::Column::LeaseUntil.is_null())
        .exec(db)
        .await?;
    Ok(woken.rows_affected == 1)
}

/// Deletes what was reported about these jobs.
pub(crate) async fn forget(db: &impl ConnectionTrait, jobs: &[JobId]) -> Result<(), DbErr> {
    let calls: Vec<AttemptId> = attempts::Entity::find()
        .select_only()
        .column(attempts::Column::Id)
        .filter(attempts::Column::JobId.is_in(jobs.iter().copied()))
        .into_tuple()
        .all(db)
        .await?;
    callbacks::Entity::delete_many()
        .filter(callbacks::Column::AttemptId.is_in(calls))
        .exec(db)
        .await?;
    Ok(())
}
