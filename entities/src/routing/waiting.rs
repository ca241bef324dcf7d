//! Jobs whose route is shut: they go to another one, or wait. Nothing was sent for them and
//! nothing is counted; only their deadline in the queue ends the wait.

use std::time::Duration;

use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, NotSet, QueryFilter,
};

use crate::{
    Effects, JobHint, Timestamp,
    db::{skip_locked, sql},
    job::{self, JobRef, JobState},
    tables::jobs,
};

/// The most jobs that one opening wakes; the others come back by themselves.
const WOKEN: u32 = 1_000;

/// The queued job that `hint` names, if nobody has claimed it.
///
/// # Errors
/// When the database fails.
pub async fn find_queued(
    db: &impl ConnectionTrait,
    hint: JobHint,
) -> Result<Option<jobs::Model>, DbErr> {
    jobs::Entity::find_by_id(hint.job_id)
        .filter(jobs::Column::State.eq(JobState::Queued))
        .filter(jobs::Column::Epoch.eq(hint.epoch))
        .filter(jobs::Column::DispatchedAt.is_not_null())
        .one(db)
        .await
}

/// queued -> queued: to `route`, which `pool` serves, at once or after `wait`. Its slot is given
/// back. `None`: someone else was first.
///
/// # Errors
/// When the database fails.
pub async fn defer(
    db: &impl ConnectionTrait,
    job: &jobs::Model,
    route: i32,
    pool: &str,
    wait: Option<Duration>,
    now: Timestamp,
) -> Result<Option<Effects>, DbErr> {
    let moved = jobs::ActiveModel {
        // Whoever only moves keeps the place in the line.
        ready_at: wait.map_or(NotSet, |wait| Set(now.after(wait))),
        dispatched_at: Set(None),
        pushed_at: Set(None),
        pushes: Set(0),
        route: Set(route),
        pool: Set(pool.to_owned()),
        ..Default::default()
    };
    let Some(moved) = job::requeue(db, &JobRef::from(job), moved).await? else { return Ok(None) };
    let dispatch = [moved.pool, job.pool.clone()].into();
    Ok(Some(Effects { dispatch, ..Effects::default() }))
}

/// Makes jobs that wait in `pool` ready now, those that waited longest first. One that waits for
/// something else will find out and wait again.
///
/// # Errors
/// When the database fails.
pub async fn wake(db: &impl ConnectionTrait, pool: &str, now: Timestamp) -> Result<u64, DbErr> {
    let text = format!(
        "UPDATE jobs SET ready_at = $1 WHERE state = 'queued' AND dispatched_at IS NULL AND id IN (\
           SELECT id FROM jobs WHERE pool = $2 AND state = 'queued' AND dispatched_at IS NULL \
           AND ready_at > $1 ORDER BY ready_at LIMIT {WOKEN}{lock})",
        lock = skip_locked(db.get_database_backend()),
    );
    let done = db.execute_raw(sql(db, text, [now.0.into(), pool.into()])).await?;
    Ok(done.rows_affected())
}
