//! queued -> submitting, and the attempts that are about to be made.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use sea_orm::{
    ConnectionTrait as _, DatabaseConnection, DbErr, FromQueryResult, QueryResult, Value,
};
use uuid::Uuid;

use super::{clock::DbClock, lanes::Step};
use crate::{
    JobHint, Timestamp,
    db::{now_sql, sql},
    ids::AttemptId,
    job::{
        AttemptOutcome, Claimed, Kind, KnownModels,
        claim::{claimed_before, micros},
    },
    tables::{attempts, jobs},
};

/// How long after it was sent a claim is still made. A database that stood still gets to statements
/// whose senders may be dead by then: nobody would make those calls, and nobody could know that.
const VALID: Duration = Duration::from_secs(2);

/// A claim.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) hint: JobHint,
    pub(super) attempt_id: AttemptId,
    pub(super) lease: Duration,
    pub(super) now: Timestamp,
    /// What the process knows; the same for all of its claims.
    pub(super) known: KnownModels,
    /// By which it is told when it comes too late.
    pub(super) clock: Arc<DbClock>,
}

/// What became of a claim.
#[derive(Debug)]
pub(super) enum Taken {
    Claimed(Box<Claimed>),
    /// The database got to it too late, or its clock was set: it is to be asked again.
    Late,
}

/// The clock is read again behind the last claim: what was not made because it was too late, was too
/// late by that clock. The same hint may be there twice: one of its attempts is made. The state is compared in a way
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
        AND state || '' = 'queued' AND dispatched_at IS NOT NULL AND {clock} < $8 AND {known}
    RETURNING jobs.*, given.attempt_id, given.now,
        resolved->'routes'->route->>'provider' AS provider,
        resolved->'routes'->route->>'provider_model' AS provider_model
), tried AS (
    INSERT INTO attempts (id, job_id, number, route, provider, provider_model, outcome, started_at)
    SELECT attempt_id, id, attempts, route, provider, provider_model, 'pending', now FROM claimed
)
SELECT claimed.*, shown FROM (SELECT count(*), {clock} AS shown FROM claimed) AS ended
LEFT JOIN claimed ON true";

impl Step for Claim {
    type Done = Taken;

    fn key(&self) -> Uuid {
        self.hint.job_id.0
    }

    async fn take(db: &DatabaseConnection, group: &[Self]) -> Result<Vec<Option<Taken>>, DbErr> {
        let Some(first) = group.first() else { return Ok(Vec::new()) };
        let (clock, asked) = (&first.clock, Instant::now());
        let deadline = clock.now().map_or(i64::MAX, |now| now.saturating_add(micros(VALID)));
        let backend = db.get_database_backend();
        let (known, [all, models]) = first.known.condition(backend, 9);
        let text = TAKE.replace("{clock}", now_sql(backend)).replace("{known}", &known);
        let values: [Value; 10] = [
            group.iter().map(|claim| claim.hint.job_id.0).collect::<Vec<_>>().into(),
            group.iter().map(|claim| claim.hint.epoch).collect::<Vec<_>>().into(),
            group.iter().map(|claim| claim.attempt_id.0).collect::<Vec<_>>().into(),
            group.iter().map(|claim| micros(claim.lease)).collect::<Vec<_>>().into(),
            group.iter().map(|claim| claim.now.0).collect::<Vec<_>>().into(),
            micros(Kind::Video.run_time_limit()).into(),
            micros(Kind::Image.run_time_limit()).into(),
            deadline.into(),
            all,
            models,
        ];
        let (mut claimed, mut shown) = (HashMap::new(), 0);
        for row in db.query_all_raw(sql(db, text, values)).await? {
            shown = row.try_get("", "shown")?;
            if let Some(attempt_id) = row.try_get::<Option<AttemptId>>("", "attempt_id")? {
                let made = read(&row, attempt_id)?;
                claimed.insert(attempt_id, made);
            }
        }
        let late = shown >= deadline;
        if late {
            clock.set(shown);
        } else {
            clock.heard(shown, asked);
        }
        let mut answers = Vec::with_capacity(group.len());
        for claim in group {
            let made = match claimed.remove(&claim.attempt_id) {
                // Late or stale, or asked for again because the answer was lost.
                None => claimed_before(db, claim.hint, claim.attempt_id).await?,
                made => made,
            };
            let made = made.map(|made| Taken::Claimed(Box::new(made)));
            answers.push(made.or_else(|| late.then_some(Taken::Late)));
        }
        Ok(answers)
    }
}

fn read(row: &QueryResult, attempt_id: AttemptId) -> Result<Claimed, DbErr> {
    let job = jobs::Model::from_query_result(row, "")?;
    let attempt = attempts::Model {
        id: attempt_id,
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
        possible_cost_usd_micros: None,
    };
    Ok(Claimed { job, attempt: Some(attempt) })
}
