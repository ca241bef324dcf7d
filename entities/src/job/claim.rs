//! Taking a job: a claim of a queued one (which writes the attempt before any call goes out), and
//! leases of rows that the poll loop has to look at. Leases use the database's clock.

use std::time::{Duration, Instant};

use sea_orm::{
    ActiveValue::Set, ColumnTrait, Condition, ConnectionTrait, DbErr, EntityTrait, FromQueryResult,
    QueryFilter, QueryOrder, sea_query::Expr,
};

use super::{AttemptOutcome, JobRef, JobState, KnownModels, guarded::is_in};
use crate::{
    JobHint, Timestamp,
    db::{now_sql, skip_locked, sql},
    ids::{AttemptId, JobId},
    tables::{attempts, jobs},
};

/// A lease on a monotonic clock: taken before the database was asked, so it never seems longer
/// than it is.
#[derive(Debug, Clone, Copy)]
pub struct Lease {
    until: Instant,
}

impl Lease {
    /// A lease of `span` that is asked for now.
    #[must_use]
    pub fn asked_now(span: Duration) -> Self {
        Self { until: Instant::now() + span }
    }
}

/// How much of the lease is left.
#[must_use]
pub fn lease_remaining(lease: &Lease) -> Duration {
    lease.until.saturating_duration_since(Instant::now())
}

/// A job that its holder may work on.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// The job, as it is now.
    pub job: jobs::Model,
    /// Its newest attempt; a new one after a claim.
    pub attempt: Option<attempts::Model>,
}

/// Claims the job that `hint` names and writes the attempt `attempt_id` that is about to be made
/// by `route(job)`, which answers with the provider and its model. `None`: nothing to do, or its model
/// is not one of `known`.
///
/// Asked again with the same `attempt_id`, because the answer was lost, it answers with the claim
/// that was made then.
///
/// # Errors
/// When the database fails.
pub async fn claim(
    db: &impl ConnectionTrait,
    hint: JobHint,
    attempt_id: AttemptId,
    lease: Duration,
    now: Timestamp,
    known: &KnownModels,
    route: impl Fn(&jobs::Model) -> Option<(String, String)>,
) -> Result<Option<Claimed>, DbErr> {
    let (is_known, [all, models]) = known.condition(db.get_database_backend(), 7);
    let text = format!(
        "UPDATE jobs SET state = 'submitting', epoch = epoch + 1, version = version + 1, \
         lease_until = {now_sql} + $1, attempts = attempts + 1, started_at = COALESCE(started_at, $2), \
         run_deadline = COALESCE(run_deadline, CASE kind WHEN 'video' THEN $3 ELSE $4 END) \
         WHERE id = $5 AND epoch = $6 AND state = 'queued' AND dispatched_at IS NOT NULL AND {is_known} RETURNING *",
        now_sql = now_sql(db.get_database_backend()),
    );
    let values = [
        micros(lease).into(),
        now.0.into(),
        now.after(super::Kind::Video.run_time_limit()).0.into(),
        now.after(super::Kind::Image.run_time_limit()).0.into(),
        hint.job_id.0.into(),
        hint.epoch.into(),
        all,
        models,
    ];
    let Some(row) = db.query_one_raw(sql(db, text, values)).await? else {
        return claimed_before(db, hint, attempt_id).await;
    };
    let job = jobs::Model::from_query_result(&row, "")?;
    let Some((provider, provider_model)) = route(&job) else {
        return Err(DbErr::Custom(format!("{} has no route {}", job.id, job.route)));
    };
    let attempt = attempts::ActiveModel {
        id: Set(attempt_id),
        job_id: Set(job.id),
        number: Set(job.attempts),
        route: Set(job.route),
        provider: Set(provider),
        provider_model: Set(provider_model),
        outcome: Set(AttemptOutcome::Pending),
        request_id: Set(None),
        handle: Set(None),
        started_at: Set(now),
        accepted_at: Set(None),
        finished_at: Set(None),
        cost_usd_micros: Set(None),
        billed_units_micros: Set(None),
        possible_cost_usd_micros: Set(None),
    };
    let attempt = attempts::Entity::insert(attempt).exec_with_returning(db).await?;
    Ok(Some(Claimed { job, attempt: Some(attempt) }))
}

pub(super) async fn claimed_before(
    db: &impl ConnectionTrait,
    hint: JobHint,
    attempt_id: AttemptId,
) -> Result<Option<Claimed>, DbErr> {
    let Some(attempt) = attempts::Entity::find_by_id(attempt_id).one(db).await? else {
        return Ok(None);
    };
    let job = jobs::Entity::find_by_id(hint.job_id)
        .filter(is_in(JobState::Submitting))
        .filter(jobs::Column::Epoch.eq(hint.epoch + 1))
        .one(db)
        .await?;
    Ok(job.map(|job| Claimed { job, attempt: Some(attempt) }))
}

/// Leases up to `limit` rows of the pool that are due for a look, longest overdue first. A lease
/// that has run out is left to [`super::rescue`], which counts how often that happens to a job.
///
/// # Errors
/// When the database fails.
pub async fn lease_due(
    db: &impl ConnectionTrait,
    pool: &str,
    limit: u32,
    lease: Duration,
    now: Timestamp,
) -> Result<Vec<Claimed>, DbErr> {
    let backend = db.get_database_backend();
    let text = format!(
        "UPDATE jobs SET epoch = epoch + 1, lease_until = {clock} + $1, polls = polls + 1 WHERE id IN (\
           SELECT id FROM jobs WHERE pool = $2 AND next_poll_at <= $3 \
           AND lease_until IS NULL \
           ORDER BY next_poll_at LIMIT {limit}{lock}) RETURNING *",
        clock = now_sql(backend),
        lock = skip_locked(backend),
    );
    let values = [micros(lease).into(), pool.into(), now.0.into()];
    let rows = db.query_all_raw(sql(db, text, values)).await?;
    let jobs: Vec<jobs::Model> =
        rows.iter().map(|row| jobs::Model::from_query_result(row, "")).collect::<Result<_, _>>()?;
    if jobs.is_empty() {
        return Ok(Vec::new());
    }
    let mut newest = std::collections::HashMap::new();
    let found = attempts::Entity::find()
        .filter(attempts::Column::JobId.is_in(jobs.iter().map(|job| job.id)))
        .order_by_asc(attempts::Column::Number)
        .all(db)
        .await?;
    for attempt in found {
        newest.insert(attempt.job_id, attempt);
    }
    Ok(jobs.into_iter().map(|job| Claimed { attempt: newest.remove(&job.id), job }).collect())
}

/// Makes the lease longer. `false`: it is lost.
///
/// # Errors
/// When the database fails.
pub async fn renew(
    db: &impl ConnectionTrait,
    job: &JobRef,
    lease: Duration,
) -> Result<bool, DbErr> {
    let clock = now_sql(db.get_database_backend());
    let renewed = jobs::Entity::update_many()
        .col_expr(jobs::Column::LeaseUntil, Expr::cust(format!("{clock} + {}", micros(lease))))
        .filter(jobs::Column::Id.eq(job.id))
        .filter(jobs::Column::Epoch.eq(job.epoch))
        .filter(jobs::Column::State.is_not_in([
            JobState::Succeeded,
            JobState::Failed,
            JobState::Canceled,
        ]))
        .exec(db)
        .await?;
    Ok(renewed.rows_affected == 1)
}

/// Which of the leases that [`lease_due`] gave were written; these are made longer. Asked when the
/// answer to their commit was lost: the same epoch may since be another's, the same moment cannot.
///
/// # Errors
/// When the database fails.
pub async fn regain(
    db: &impl ConnectionTrait,
    perhaps: &[Claimed],
    lease: Duration,
) -> Result<Vec<JobId>, DbErr> {
    let clock = now_sql(db.get_database_backend());
    let leases = perhaps.iter().fold(Condition::any(), |any, claimed| {
        let this = Condition::all()
            .add(jobs::Column::Id.eq(claimed.job.id))
            .add(jobs::Column::Epoch.eq(claimed.job.epoch))
            .add(jobs::Column::LeaseUntil.eq(claimed.job.lease_until));
        any.add(this)
    });
    let regained = jobs::Entity::update_many()
        .col_expr(jobs::Column::LeaseUntil, Expr::cust(format!("{clock} + {}", micros(lease))))
        .filter(leases)
        .exec_with_returning(db)
        .await?;
    Ok(regained.into_iter().map(|job| job.id).collect())
}

/// The job as its holder's last change left it in the state `to`, under the lease that was kept.
/// Asked when a change is answered with nothing: the change may have been written before, and its
/// answer lost. Each change makes the epoch one greater, so nobody else can have made this one.
///
/// # Errors
/// When the database fails.
pub async fn changed_before(
    db: &impl ConnectionTrait,
    before: &JobRef,
    to: JobState,
) -> Result<Option<jobs::Model>, DbErr> {
    jobs::Entity::find_by_id(before.id)
        .filter(jobs::Column::Epoch.eq(before.epoch + 1))
        .filter(is_in(to))
        .filter(jobs::Column::LeaseUntil.is_not_null())
        .one(db)
        .await
}

pub(super) fn micros(span: Duration) -> i64 {
    Timestamp(0).after(span).0
}

impl Claimed {
    /// The job as a guard for the next change.
    #[must_use]
    pub fn job_ref(&self) -> JobRef {
        JobRef::from(&self.job)
    }

    /// Which job it is.
    #[must_use]
    pub fn id(&self) -> JobId {
        self.job.id
    }
}

/// When the next unleased job of the pool is due for a look. `None`: there is none.
///
/// # Errors
/// When the database fails.
pub async fn next_due(db: &crate::Db, pool: &str) -> Result<Option<Timestamp>, crate::WriteError> {
    let text = "SELECT min(next_poll_at) AS due FROM jobs WHERE pool = $1 \
                AND next_poll_at IS NOT NULL AND lease_until IS NULL";
    let read = db.read();
    let due = async {
        let row = read.query_one_raw(sql(read, text, [pool.into()])).await?;
        row.map_or(Ok(None), |row| row.try_get("", "due"))
    };
    due.await.map_err(|error: DbErr| error.into())
}
