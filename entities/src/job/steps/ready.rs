//! running or submitting -> storing: the provider is done, the lease is kept.

use std::collections::HashMap;

use sea_orm::{ConnectionTrait as _, DatabaseConnection, DbErr, Value};
use uuid::Uuid;

use super::{accept::illegal, lanes::Step};
use crate::{
    Timestamp,
    db::sql,
    ids::{AttemptId, JobId},
    job::{JobRef, JobState, Usage},
    tables::jobs,
};

/// A result that can be copied.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) guard: JobRef,
    pub(super) attempt_id: AttemptId,
    pub(super) usage: Usage,
    /// When the answer came, if it brought the result: the provider accepted the call then.
    pub(super) at_once: Option<Timestamp>,
}

/// What the step changed, for the holder's own copy of the job.
#[derive(Debug)]
pub(super) struct Moved {
    epoch: i64,
    version: i64,
    cancel_requested: bool,
    cancel_sent: bool,
}

impl Moved {
    pub(super) fn apply(self, job: jobs::Model) -> jobs::Model {
        jobs::Model {
            state: JobState::Storing,
            epoch: self.epoch,
            version: self.version,
            progress: Some(1.0),
            lost_leases: 0,
            cancel_requested: self.cancel_requested,
            cancel_sent: self.cancel_sent,
            ..job
        }
    }
}

/// Less than zero stands for what is not known: arrays hold no nulls.
const TAKE: &str = "
WITH given AS MATERIALIZED (
    SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7)
        AS given (job_id, state, epoch, attempt_id, cost, units, accepted_at)
), moved AS (
    UPDATE jobs SET state = 'storing', epoch = jobs.epoch + 1, progress = 1.0, lost_leases = 0
    FROM given WHERE jobs.id = given.job_id AND jobs.epoch = given.epoch
        AND jobs.state = given.state
    RETURNING jobs.id, jobs.epoch, jobs.version, jobs.cancel_requested, jobs.cancel_sent,
        given.attempt_id
), noted AS (
    UPDATE attempts SET
        cost_usd_micros = COALESCE(NULLIF(given.cost, -1), attempts.cost_usd_micros),
        billed_units_micros = COALESCE(NULLIF(given.units, -1), attempts.billed_units_micros),
        accepted_at = COALESCE(NULLIF(given.accepted_at, -1), attempts.accepted_at)
    FROM given JOIN moved ON moved.attempt_id = given.attempt_id
    WHERE attempts.id = given.attempt_id
        AND (given.cost <> -1 OR given.units <> -1 OR given.accepted_at <> -1)
)
SELECT id, epoch, version, cancel_requested, cancel_sent FROM moved";

impl Step for Ready {
    type Done = Moved;

    fn key(&self) -> Uuid {
        self.guard.workspace_id.0
    }

    async fn take(db: &DatabaseConnection, group: &[Self]) -> Result<Vec<Option<Moved>>, DbErr> {
        for step in group {
            step.guard.state.check(JobState::Storing).map_err(illegal)?;
        }
        let numbers = |of: fn(&Self) -> Option<i64>| -> Value {
            group.iter().map(|step| of(step).unwrap_or(-1)).collect::<Vec<_>>().into()
        };
        let values: [Value; 7] = [
            group.iter().map(|step| step.guard.id.0).collect::<Vec<_>>().into(),
            group.iter().map(|step| step.guard.state.name().to_owned()).collect::<Vec<_>>().into(),
            group.iter().map(|step| step.guard.epoch).collect::<Vec<_>>().into(),
            group.iter().map(|step| step.attempt_id.0).collect::<Vec<_>>().into(),
            numbers(|step| step.usage.cost_usd_micros),
            numbers(|step| step.usage.billed_units_micros),
            numbers(|step| step.at_once.map(|at| at.0)),
        ];
        let mut moved: HashMap<JobId, Moved> = HashMap::new();
        for row in db.query_all_raw(sql(db, TAKE, values)).await? {
            let found = Moved {
                epoch: row.try_get("", "epoch")?,
                version: row.try_get("", "version")?,
                cancel_requested: row.try_get("", "cancel_requested")?,
                cancel_sent: row.try_get("", "cancel_sent")?,
            };
            moved.insert(row.try_get("", "id")?, found);
        }
        Ok(group.iter().map(|step| moved.remove(&step.guard.id)).collect())
    }
}
