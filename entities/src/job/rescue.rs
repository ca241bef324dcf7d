//! Taking back leases that have expired: their holder died, or froze.

use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, ConnectionTrait, DatabaseTransaction, DbErr, EntityTrait, QueryFilter, QueryOrder,
    QuerySelect,
    sea_query::{Expr, LockBehavior, LockType},
};

use super::{
    AttemptOutcome, JobRef, JobState,
    guarded::{Shows, change},
    policy, progress,
    settle::{self, Ending, Failure},
};
use crate::{
    Effects, Timestamp,
    db::now_sql,
    ids::{AttemptId, JobId},
    tables::{attempts, jobs},
};

/// Takes back up to `limit` expired leases. A job that was being submitted becomes uncertain:
/// whether the call went out cannot be known. Any other is looked at again at once. Too many lost
/// leases in a row quarantine the job.
///
/// # Errors
/// When the database fails.
pub async fn rescue(
    tx: &DatabaseTransaction,
    limit: u64,
    now: Timestamp,
) -> Result<(Effects, usize), DbErr> {
    let clock = now_sql(tx.get_database_backend());
    let expired = || {
        jobs::Entity::find()
            .filter(jobs::Column::LeaseUntil.is_not_null())
            .filter(Expr::cust(format!("lease_until < {clock}")))
    };
    // Found in the order of their leases, before they are locked in another one: asked for both at
    // once, PostgreSQL walks through the jobs of all workspaces until it has enough.
    let found: Vec<JobId> = expired()
        .select_only()
        .column(jobs::Column::Id)
        .order_by_asc(jobs::Column::LeaseUntil)
        .limit(limit)
        .into_tuple()
        .all(tx)
        .await?;
    if found.is_empty() {
        return Ok(Default::default());
    }
    let expired = expired()
        .filter(jobs::Column::Id.is_in(found))
        .order_by_asc(jobs::Column::WorkspaceId)
        // All jobs before any wallet, in the order of all that changes many; whoever has one of
        // them is not dead.
        .lock_with_behavior(LockType::NoKeyUpdate, LockBehavior::SkipLocked)
        .all(tx)
        .await?;
    let mut effects = Effects::default();
    let mut count = 0;
    for job in expired {
        if let Some(more) = take_back(tx, &job, now).await? {
            effects.merge(more);
            count += 1;
        }
    }
    Ok((effects, count))
}

async fn take_back(
    tx: &DatabaseTransaction,
    job: &jobs::Model,
    now: Timestamp,
) -> Result<Option<Effects>, DbErr> {
    let guard = JobRef::from(job);
    let attempt = newest_attempt(tx, job.id).await?;
    let lost = job.lost_leases.saturating_add(1);
    if lost >= policy::MAX_LOST_LEASES {
        let failure = Failure {
            code: "quarantined",
            detail: "The job was given up because its workers failed again and again. Nothing was charged.".into(),
        };
        let attempt = attempt.map(|id| (id, AttemptOutcome::Unknown));
        return settle::end(tx, &guard, attempt, &Ending::Failed(failure), now).await;
    }
    match (job.state, attempt) {
        (JobState::Submitting, Some(attempt_id)) => {
            progress::uncertain(tx, &guard, attempt_id, now).await
        }
        _ => {
            let again = jobs::ActiveModel {
                lease_until: Set(None),
                next_poll_at: Set(Some(now)),
                lost_leases: Set(lost),
                ..Default::default()
            };
            let changed = change(tx, &guard, job.state, Shows::No, again).await?;
            Ok(changed.map(|_| Effects::default()))
        }
    }
}

pub(crate) async fn newest_attempt(
    db: &impl ConnectionTrait,
    job_id: JobId,
) -> Result<Option<AttemptId>, DbErr> {
    attempts::Entity::find()
        .select_only()
        .column(attempts::Column::Id)
        .filter(attempts::Column::JobId.eq(job_id))
        .order_by_desc(attempts::Column::Number)
        .into_tuple()
        .one(db)
        .await
}
