//! queued -> submitting, and the attempts that are about to be made.

use std::{collections::HashMap, time::Duration};

use sea_orm::{ConnectionTrait as _, DatabaseConnection, DbErr, FromQueryResult, Value};
use uuid::Uuid;

use super::lanes::Step;
use crate::{
    JobHint, Timestamp,
    db::{now_sql, sql},
    ids::AttemptId,
    job::{
        AttemptOutcome, Claimed, Kind,
        claim::{claimed_before, micros},
    },
    tables::{attempts, jobs},
};

/// A claim.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) hint: JobHint,
    pub(super) attempt_id: AttemptId,
    pub(super) lease: Duration,
    pub(super) now: Timestamp,
}

/// The same hint may be there twice: one of its attempts is made. The state is compared in a way
/// that no partial index serves: each job is to be found by its id.
const TAKE: &str = "
WITH given AS MATERIALIZED (
    SELECT * FROM unnest($1, $2, $3, $4, $5)
        AS given (job_id, epoch, attempt_id, lease, now)
), claimed AS (
    UPDATE jobs SET state = 'submitting', epoch = jobs.epoch + 1, version = version + 1,
        lease_until = {clock} + given.lease, attempts = attempts + 1,
        started_at = COALESCE(started_at, given.now), run_deadline = COALESCE(run_deadline,
            given.now + CASE kind WHEN 'video' THEN $6 ELSE $7 END)
    FROM given WHERE jobs.id = given.job_id AND jobs.epoch = given.epoch
        AND state || '' = 'queued' AND dispatched_at IS NOT NULL
    RETURNING jobs.*, given.attempt_id, given.now,
        resolved->'routes'->route->>'provider' AS provider,
        resolved->'routes'->route->>'provider_model' AS provider_model
), tried AS (
    INSERT INTO attempts (id, job_id, number, route, provider, provider_model, outcome, started_at)
    SELECT attempt_id, id, attempts, route, provider, provider_model, 'pending', now FROM claimed
)
SELECT * FROM claimed";

impl Step for Claim {
    type Done = Claimed;

    fn key(&self) -> Uuid {
        self.hint.job_id.0
    }

    async fn take(db: &DatabaseConnection, group: &[Self]) -> Result<Vec<Option<Claimed>>, DbErr> {
        let text = TAKE.replace("{clock}", now_sql(db.get_database_backend()));
        let values: [Value; 7] = [
            group.iter().map(|claim| claim.hint.job_id.0).collect::<Vec<_>>().into(),
            group.iter().map(|claim| claim.hint.epoch).collect::<Vec<_>>().into(),
            group.iter().map(|claim| claim.attempt_id.0).collect::<Vec<_>>().into(),
            group.iter().map(|claim| micros(claim.lease)).collect::<Vec<_>>().into(),
            group.iter().map(|claim| claim.now.0).collect::<Vec<_>>().into(),
            micros(Kind::Video.run_time_limit()).into(),
            micros(Kind::Image.run_time_limit()).into(),
        ];
        let mut claimed = HashMap::new();
        for row in db.query_all_raw(sql(db, text, values)).await? {
            let job = jobs::Model::from_query_result(&row, "")?;
            let attempt = attempts::Model {
                id: row.try_get("", "attempt_id")?,
                job_id: job.id,
                number: job.attempts,
                route: job.route,
                provider: row.try_get("", "provider")?,
                provider_model: row.try_get("", "provider_model")?,
                outcome: AttemptOutcome::Pending,
                request_id: None,
                handle: None,
                started_at: row.try_get("", "now")?,
                accepted_at: None,
                finished_at: None,
                cost_usd_micros: None,
                billed_units_micros: None,
            };
            claimed.insert(attempt.id, Claimed { job, attempt: Some(attempt) });
        }
        let mut answers = Vec::with_capacity(group.len());
        for claim in group {
            answers.push(match claimed.remove(&claim.attempt_id) {
                // Stale, or asked for again because the answer was lost.
                None => claimed_before(db, claim.hint, claim.attempt_id).await?,
                done => done,
            });
        }
        Ok(answers)
    }
}
