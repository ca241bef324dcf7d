//! submitting -> running: the providers' ids are stored.

use std::collections::HashMap;

use sea_orm::{ConnectionTrait as _, DatabaseConnection, DbErr, Value};
use uuid::Uuid;

use super::lanes::Step;
use crate::{
    Effects, Timestamp,
    db::sql,
    ids::JobId,
    job::{Acceptance, JobRef, JobState},
};

/// A provider's answer.
#[derive(Debug)]
pub(super) struct Accept {
    pub(super) job: JobRef,
    pub(super) acceptance: Acceptance,
    pub(super) now: Timestamp,
}

const TAKE: &str = "
WITH given AS MATERIALIZED (
    SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8)
        AS given (job_id, state, epoch, attempt_id, request_id, handle, now, look_at)
), moved AS (
    UPDATE jobs SET state = 'running', epoch = jobs.epoch + 1, version = version + 1,
        lease_until = NULL, next_poll_at = given.look_at, polls = 0, refusals = 0,
        lost_leases = 0, uncertain_until = NULL
    FROM given WHERE jobs.id = given.job_id AND jobs.epoch = given.epoch
        AND jobs.state = given.state
    RETURNING jobs.id, jobs.version, given.attempt_id
), noted AS (
    UPDATE attempts SET outcome = 'accepted', request_id = given.request_id,
        handle = given.handle::jsonb, accepted_at = given.now
    FROM given JOIN moved ON moved.attempt_id = given.attempt_id
    WHERE attempts.id = given.attempt_id
)
SELECT id, version FROM moved";

impl Step for Accept {
    type Done = Effects;

    fn key(&self) -> Uuid {
        self.job.workspace_id.0
    }

    async fn take(db: &DatabaseConnection, group: &[Self]) -> Result<Vec<Option<Effects>>, DbErr> {
        for step in group {
            step.job.state.check(JobState::Running).map_err(illegal)?;
        }
        let values: [Value; 8] = [
            group.iter().map(|step| step.job.id.0).collect::<Vec<_>>().into(),
            group.iter().map(|step| step.job.state.name().to_owned()).collect::<Vec<_>>().into(),
            group.iter().map(|step| step.job.epoch).collect::<Vec<_>>().into(),
            group.iter().map(|step| step.acceptance.attempt_id.0).collect::<Vec<_>>().into(),
            group.iter().map(|step| step.acceptance.request_id.clone()).collect::<Vec<_>>().into(),
            group.iter().map(|step| step.acceptance.handle.to_string()).collect::<Vec<_>>().into(),
            group.iter().map(|step| step.now.0).collect::<Vec<_>>().into(),
            group
                .iter()
                .map(|step| step.now.after(step.acceptance.poll_after).0)
                .collect::<Vec<_>>()
                .into(),
        ];
        let mut moved: HashMap<JobId, i64> = HashMap::new();
        for row in db.query_all_raw(sql(db, TAKE, values)).await? {
            moved.insert(row.try_get("", "id")?, row.try_get("", "version")?);
        }
        let shown = |step: &Self| {
            let version = moved.remove(&step.job.id)?;
            Some(Effects { changed: vec![(step.job.id, version)], ..Effects::default() })
        };
        Ok(group.iter().map(shown).collect())
    }
}

/// A move that the state machine does not know.
pub(super) fn illegal(error: crate::job::IllegalMove) -> DbErr {
    DbErr::Custom(error.to_string())
}
