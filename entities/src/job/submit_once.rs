//! The ordinary submit on Postgres: one statement for a whole group, in one round trip, for whoever
//! needs no second thought: a key that is in force and has no spending limit, a wallet that covers
//! all that its workspace asks for in this group, an idempotency key that is new. Whoever does not
//! come back from it has written nothing and goes the long way ([`super::submit`]), which tells why.
//!
//! The wallets are locked before anything is inserted, in the order of their ids. What another
//! transaction committed since this statement began cannot be overlooked: a locked wallet is read
//! anew, and an idempotency key that is taken is a conflict, whether it can be seen or not.

use std::collections::HashSet;

use sea_orm::{ConnectionTrait, DatabaseConnection, DbErr, Value};
use uuid::Uuid;

use super::{policy, submit::NewJob};
use crate::{
    Credits,
    db::sql,
    ids::{EntryId, JobId},
};

/// Whether a job may be written this way. What uses uploads has more to write.
pub(super) fn is_ordinary(job: &NewJob) -> bool {
    job.uploads.is_empty() && job.credits > Credits::ZERO
}

/// What it takes to decide is unnested; the rest of a row stays in its arrays until it is written.
const ONCE: &str = "
WITH live AS MATERIALIZED (
    SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7) WITH ORDINALITY
        AS given (id, workspace_id, api_key_id, credits, key, hash, created_at, n)
    WHERE api_key_id = '00000000-0000-0000-0000-000000000000' OR (
        SELECT revoked_at IS NULL AND spend_limit IS NULL
            AND (expires_at IS NULL OR expires_at > given.created_at)
        FROM api_keys WHERE api_keys.id = given.api_key_id LIMIT 1)
), payers AS MATERIALIZED (
    SELECT w.workspace_id FROM wallets w JOIN (
        SELECT workspace_id, sum(credits) AS credits FROM live GROUP BY workspace_id
    ) AS asked ON asked.workspace_id = w.workspace_id
    WHERE w.available >= asked.credits ORDER BY w.workspace_id FOR NO KEY UPDATE OF w
), able AS MATERIALIZED (
    SELECT live.* FROM payers JOIN live ON live.workspace_id = payers.workspace_id
), new_keys AS (
    INSERT INTO idempotency_keys (workspace_id, key, body_hash, job_id, created_at)
    SELECT workspace_id, key, hash, id, created_at FROM able WHERE key <> ''
    ON CONFLICT (workspace_id, key) DO NOTHING RETURNING job_id
), written AS MATERIALIZED (
    SELECT CAST(n AS integer) AS n, id, workspace_id, api_key_id, credits, created_at
    FROM able LEFT JOIN new_keys ON new_keys.job_id = able.id
    WHERE able.key = '' OR new_keys.job_id IS NOT NULL
), new_jobs AS (
    INSERT INTO jobs (id, workspace_id, api_key_id, model, kind, pool, state, input, metadata,
        resolved, outputs_expected, created_at, ready_at, queue_deadline, expires_at)
    SELECT id, workspace_id, NULLIF(api_key_id, '00000000-0000-0000-0000-000000000000'), $9[n],
        $10[n], $11[n], 'queued', $12[n]::jsonb, $13[n]::jsonb, $14[n]::jsonb, $15[n], created_at,
        created_at, $16[n], $17[n] FROM written
), new_holds AS (
    INSERT INTO holds (job_id, workspace_id, amount, opened_at)
    SELECT id, workspace_id, credits, created_at FROM written
), new_entries AS (
    INSERT INTO ledger_entries
        (id, workspace_id, kind, reference, from_account, to_account, amount, created_at)
    SELECT $8[n], workspace_id, 'hold', id, 'available', 'held', credits, created_at FROM written
), paid AS (
    UPDATE wallets SET available = available - spent.credits, held = held + spent.credits FROM (
        SELECT workspace_id, CAST(sum(credits) AS bigint) AS credits FROM written
        GROUP BY workspace_id
    ) AS spent WHERE wallets.workspace_id = spent.workspace_id
)
SELECT id FROM written";

/// Writes what it can of a group of ordinary jobs; answers with what is committed.
pub(super) async fn write(
    db: &DatabaseConnection,
    group: &[&NewJob],
) -> Result<HashSet<JobId>, DbErr> {
    let rows = db.query_all_raw(sql(db, ONCE, columns(group))).await?;
    rows.iter().map(|row| row.try_get("", "id")).collect()
}

/// One array for each column. Arrays hold no nulls: an empty key and a nil id stand for none.
fn columns(group: &[&NewJob]) -> [Value; 17] {
    let uuids = |of: fn(&NewJob) -> Uuid| -> Value {
        group.iter().map(|job| of(job)).collect::<Vec<_>>().into()
    };
    let texts = |of: fn(&NewJob) -> String| -> Value {
        group.iter().map(|job| of(job)).collect::<Vec<_>>().into()
    };
    let numbers = |of: fn(&NewJob) -> i64| -> Value {
        group.iter().map(|job| of(job)).collect::<Vec<_>>().into()
    };
    let hashes: Vec<Vec<u8>> = group
        .iter()
        .map(|job| job.idempotency.as_ref().map_or(Vec::new(), |(_, hash)| hash.to_vec()))
        .collect();
    [
        uuids(|job| job.id.0),
        uuids(|job| job.workspace_id.0),
        uuids(|job| job.api_key_id.map_or(Uuid::nil(), |key| key.0)),
        numbers(|job| job.credits.0),
        texts(|job| job.idempotency.as_ref().map_or(String::new(), |(key, _)| key.clone())),
        hashes.into(),
        numbers(|job| job.created_at.0),
        uuids(|_| EntryId::generate().0),
        texts(|job| job.model.clone()),
        texts(|job| sea_orm::ActiveEnum::to_value(&job.kind)),
        texts(|job| job.pool.clone()),
        texts(|job| job.input.to_string()),
        texts(|job| job.metadata.to_string()),
        texts(|job| job.resolved.to_string()),
        group.iter().map(|job| job.outputs_expected).collect::<Vec<_>>().into(),
        numbers(|job| job.created_at.after(policy::QUEUE_LIMIT).0),
        numbers(|job| job.expires_at.0),
    ]
}
