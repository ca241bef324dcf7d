//! Ending what took too long, and forgetting old idempotency records.

use std::collections::BTreeMap;

use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseTransaction, DbErr, EntityTrait, ExprTrait, QueryFilter,
    QuerySelect,
    sea_query::{LockBehavior, LockType},
};

use super::{
    AttemptOutcome, JobRef, JobState, policy, rescue,
    settle::{self, Ending, Failure},
};
use crate::{
    Effects, Timestamp,
    db::sql,
    ids::{JobId, WorkspaceId},
    tables::jobs,
};

/// Ends up to `limit` jobs whose deadline has passed and that nobody has a lease on: queued too
/// long, waited too long for a lost answer, or too long at the provider (the poll loop, which
/// asks the provider to cancel, gets a while to do this first).
///
/// # Errors
/// When the database fails.
pub async fn end_overdue(
    tx: &DatabaseTransaction,
    limit: u64,
    now: Timestamp,
) -> Result<(Effects, usize), DbErr> {
    let at_provider = [JobState::Submitting, JobState::Running, JobState::Uncertain];
    // One by one, each along its index: with one condition for all, every job that is not finished
    // would be read.
    let overdue = [
        jobs::Column::State.eq(JobState::Queued).and(jobs::Column::QueueDeadline.lt(now)),
        jobs::Column::State
            .is_in(at_provider)
            .and(jobs::Column::RunDeadline.lt(now.before(policy::DEADLINE_GRACE))),
        jobs::Column::State.eq(JobState::Uncertain).and(jobs::Column::UncertainUntil.lt(now)),
    ];
    let mut jobs: BTreeMap<(WorkspaceId, JobId), jobs::Model> = BTreeMap::new();
    for these in overdue {
        let found = jobs::Entity::find()
            .filter(these)
            .filter(jobs::Column::LeaseUntil.is_null())
            .limit(limit.saturating_sub(jobs.len() as u64))
            // As in [`rescue`]: all jobs before any wallet.
            .lock_with_behavior(LockType::NoKeyUpdate, LockBehavior::SkipLocked)
            .all(tx)
            .await?;
        jobs.extend(found.into_iter().map(|job| ((job.workspace_id, job.id), job)));
    }
    let mut effects = Effects::default();
    let mut count = 0;
    for job in jobs.into_values() {
        let outcome = match job.state {
            JobState::Uncertain => AttemptOutcome::Unknown,
            _ => AttemptOutcome::TimedOut,
        };
        let attempt = match job.state {
            JobState::Queued => None,
            _ => rescue::newest_attempt(tx, job.id).await?.map(|id| (id, outcome)),
        };
        let ending = if job.cancel_requested {
            Ending::Canceled
        } else {
            Ending::Failed(too_late(job.state))
        };
        if let Some(more) = settle::end(tx, &JobRef::from(&job), attempt, &ending, now).await? {
            effects.merge(more);
            count += 1;
        }
    }
    Ok((effects, count))
}

/// What a job in this state says when its deadline has passed.
#[must_use]
pub(crate) fn too_late(state: JobState) -> Failure {
    let (code, detail) = match state {
        JobState::Queued => (
            "queue_timeout",
            "No worker could take the job within 24 hours. Nothing was charged; please try again.",
        ),
        JobState::Uncertain => (
            "provider_outcome_unknown",
            "The provider's answer was lost and could not be recovered. Nothing was charged; please try again.",
        ),
        _ => (
            "timed_out",
            "The provider did not finish in time. Nothing was charged; please try again.",
        ),
    };
    Failure { code, detail: detail.to_owned() }
}

/// Deletes up to `limit` idempotency records that have expired. Answers with how many.
///
/// # Errors
/// When the database fails.
pub async fn forget_old_idempotency_keys(
    db: &impl ConnectionTrait,
    limit: u64,
    now: Timestamp,
) -> Result<u64, DbErr> {
    let text = "DELETE FROM idempotency_keys WHERE (workspace_id, key) IN \
                (SELECT workspace_id, key FROM idempotency_keys WHERE created_at < $1 LIMIT $2)";
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let values = [now.before(policy::IDEMPOTENCY_LIMIT).0.into(), limit.into()];
    Ok(db.execute_raw(sql(db, text, values)).await?.rows_affected())
}
