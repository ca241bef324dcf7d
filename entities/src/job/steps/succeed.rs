//! storing -> succeeded with everything delivered: holds are captured whole. Terminal states, files,
//! holds, entries, wallets and slots change in one statement.
//!
//! A fault in one job takes the statement back: a terminal job without an open hold would need an
//! entry without an amount, which the ledger's table refuses.

use std::collections::HashMap;

use sea_orm::{ConnectionTrait as _, DatabaseConnection, DbErr, Value};
use uuid::Uuid;

use super::{accept::illegal, lanes::Step};
use crate::{
    Credits, Effects, Timestamp,
    db::sql,
    effects::{JobEnd, Verb},
    ids::{AttemptId, EntryId, JobId, OutputId},
    job::{JobRef, JobState, NewOutput, PublicStatus},
    tables::jobs,
};

/// The end of a job that delivered all that was asked for.
#[derive(Debug)]
pub(super) struct Succeed {
    job: JobRef,
    attempt_id: AttemptId,
    delivered: Vec<NewOutput>,
    now: Timestamp,
    model: String,
    pool: String,
}

impl Succeed {
    /// `None` when not everything was delivered: what is charged then is a matter of its own.
    pub(super) fn whole(
        job: &jobs::Model,
        attempt_id: AttemptId,
        delivered: &[NewOutput],
        now: Timestamp,
    ) -> Option<Self> {
        let asked = usize::try_from(job.outputs_expected).unwrap_or(1).max(1);
        (delivered.len() >= asked).then(|| Self {
            job: JobRef::from(job),
            attempt_id,
            delivered: delivered.to_vec(),
            now,
            model: job.model.clone(),
            pool: job.pool.clone(),
        })
    }

    fn effects(&self, version: i64, captured: Credits) -> Effects {
        let mut effects = Effects {
            changed: vec![(self.job.id, version)],
            finished: vec![JobEnd { model: self.model.clone(), status: PublicStatus::Succeeded }],
            credits: vec![(Verb::Capture, captured)],
            ..Effects::default()
        };
        effects.dispatch.insert(self.pool.clone());
        effects
    }
}

/// Less than zero, or an empty text, stands for what is not there: arrays hold no nulls. The state
/// is compared in a way that no partial index serves: each job is to be found by its id, not among
/// the dead rows of all that passed that state lately.
const TAKE: &str = "
WITH given AS MATERIALIZED (
    SELECT * FROM unnest($1, $2, $3, $4, $5)
        AS given (job_id, epoch, attempt_id, entry_id, now)
), ended AS MATERIALIZED (
    UPDATE jobs SET state = 'succeeded', epoch = jobs.epoch + 1, version = version + 1,
        finished_at = given.now, lease_until = NULL, next_poll_at = NULL, uncertain_until = NULL,
        progress = 1.0, error_code = NULL, error_detail = NULL
    FROM given WHERE jobs.id = given.job_id AND jobs.epoch = given.epoch
        AND jobs.state || '' = 'storing'
    RETURNING jobs.id, jobs.workspace_id, jobs.version, jobs.dispatched_at, given.attempt_id,
        given.entry_id, given.now
), payers AS MATERIALIZED (
    SELECT workspace_id FROM wallets WHERE workspace_id IN (SELECT workspace_id FROM ended)
    ORDER BY workspace_id FOR NO KEY UPDATE
), files AS (
    INSERT INTO outputs (id, job_id, workspace_id, position, key, content_type, bytes, sha256,
        width, height, duration_ms, thumbnail_type, thumbnail_bytes, thumbnail_width,
        thumbnail_height, created_at)
    SELECT file.id, ended.id, ended.workspace_id, position, key, content_type, bytes, sha256,
        NULLIF(width, -1), NULLIF(height, -1), NULLIF(duration_ms, -1), NULLIF(small_type, ''),
        NULLIF(small_bytes, -1), NULLIF(small_width, -1), NULLIF(small_height, -1), ended.now
    FROM unnest($6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)
        AS file (id, job_id, position, key, content_type, bytes, sha256, width, height, duration_ms,
            small_type, small_bytes, small_width, small_height)
    JOIN ended ON ended.id = file.job_id
), tried AS (
    UPDATE attempts SET outcome = 'succeeded', finished_at = ended.now
    FROM ended WHERE attempts.id = ended.attempt_id
), closed AS MATERIALIZED (
    UPDATE holds SET captured = amount, released = 0, closed_at = ended.now
    FROM ended WHERE holds.job_id = ended.id AND holds.closed_at IS NULL
    RETURNING holds.job_id, holds.amount
), captured AS MATERIALIZED (
    SELECT ended.*, closed.amount FROM ended JOIN payers ON payers.workspace_id = ended.workspace_id
    LEFT JOIN closed ON closed.job_id = ended.id
), entries AS (
    INSERT INTO ledger_entries
        (id, workspace_id, kind, reference, from_account, to_account, amount, created_at)
    SELECT entry_id, workspace_id, 'capture', id, 'held', 'sales', amount, now FROM captured
), paid AS (
    UPDATE wallets SET held = held - sold.amount FROM (
        SELECT workspace_id, CAST(sum(amount) AS bigint) AS amount FROM captured
        GROUP BY workspace_id
    ) AS sold WHERE wallets.workspace_id = sold.workspace_id
), freed AS (
    UPDATE workspaces SET dispatched = dispatched - slots.count FROM (
        SELECT workspace_id, CAST(count(*) AS integer) AS count FROM captured
        WHERE dispatched_at IS NOT NULL GROUP BY workspace_id
    ) AS slots WHERE workspaces.id = slots.workspace_id
)
SELECT id, version, amount FROM captured";

impl Step for Succeed {
    type Done = Effects;

    fn key(&self) -> Uuid {
        self.job.workspace_id.0
    }

    async fn take(db: &DatabaseConnection, group: &[Self]) -> Result<Vec<Option<Effects>>, DbErr> {
        for step in group {
            step.job.state.check(JobState::Succeeded).map_err(illegal)?;
        }
        let mut values: Vec<Value> = vec![
            group.iter().map(|step| step.job.id.0).collect::<Vec<_>>().into(),
            group.iter().map(|step| step.job.epoch).collect::<Vec<_>>().into(),
            group.iter().map(|step| step.attempt_id.0).collect::<Vec<_>>().into(),
            group.iter().map(|_| EntryId::generate().0).collect::<Vec<_>>().into(),
            group.iter().map(|step| step.now.0).collect::<Vec<_>>().into(),
        ];
        values.extend(files(group));
        let mut captured: HashMap<JobId, (i64, Credits)> = HashMap::new();
        for row in db.query_all_raw(sql(db, TAKE, values)).await? {
            let what = (row.try_get("", "version")?, row.try_get("", "amount")?);
            captured.insert(row.try_get("", "id")?, what);
        }
        let done = |step: &Self| {
            let (version, amount) = captured.remove(&step.job.id)?;
            Some(step.effects(version, amount))
        };
        Ok(group.iter().map(done).collect())
    }
}

/// The columns of the files of all jobs.
fn files(group: &[Succeed]) -> [Value; 14] {
    let files: Vec<(&Succeed, i32, &NewOutput)> = group
        .iter()
        .flat_map(|step| {
            step.delivered.iter().zip(0_i32..).map(move |(file, position)| (step, position, file))
        })
        .collect();
    let texts = |of: fn(&NewOutput) -> &str| -> Value {
        files.iter().map(|(_, _, file)| of(file).to_owned()).collect::<Vec<_>>().into()
    };
    let pixels = |of: fn(&NewOutput) -> Option<u32>| -> Value {
        let pixels = |file| of(file).and_then(|n| i32::try_from(n).ok()).unwrap_or(-1);
        files.iter().map(|(_, _, file)| pixels(file)).collect::<Vec<_>>().into()
    };
    let sizes = |of: fn(&NewOutput) -> Option<u64>| -> Value {
        let size = |file| of(file).map_or(-1, |n| i64::try_from(n).unwrap_or(i64::MAX));
        files.iter().map(|(_, _, file)| size(file)).collect::<Vec<_>>().into()
    };
    let span = |file: &NewOutput| {
        file.duration.and_then(|span| i64::try_from(span.as_millis()).ok()).unwrap_or(-1)
    };
    [
        files.iter().map(|_| OutputId::generate().0).collect::<Vec<_>>().into(),
        files.iter().map(|(step, _, _)| step.job.id.0).collect::<Vec<_>>().into(),
        files.iter().map(|(_, position, _)| *position).collect::<Vec<_>>().into(),
        texts(|file| &file.key),
        texts(|file| &file.content_type),
        sizes(|file| Some(file.bytes)),
        texts(|file| &file.sha256),
        pixels(|file| file.width),
        pixels(|file| file.height),
        files.iter().map(|(_, _, file)| span(file)).collect::<Vec<_>>().into(),
        texts(|file| file.thumbnail.as_ref().map_or("", |small| &small.content_type)),
        sizes(|file| file.thumbnail.as_ref().map(|small| small.bytes)),
        pixels(|file| file.thumbnail.as_ref().map(|small| small.width)),
        pixels(|file| file.thumbnail.as_ref().map(|small| small.height)),
    ]
}
