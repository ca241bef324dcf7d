//! Writing what a group of submits was allowed: jobs, holds, ledger entries, idempotency records,
//! wallets. One statement on Postgres, whose data-modifying CTEs do it in one round trip and one
//! plan however large the group is; a few on SQLite, where a statement costs no round trip.

use std::collections::BTreeMap;

use sea_orm::{
    ActiveValue::Set, ConnectionTrait, DatabaseBackend, DatabaseTransaction, DbErr, EntityTrait,
    Value, sea_query::OnConflict,
};
use serde_json::json;

use super::{JobState, policy, submit::NewJob};
use crate::{
    db::sql,
    ids::{EntryId, WorkspaceId},
    ledger::{EntryKind, post},
    tables::{holds, idempotency_keys, jobs},
};

/// Writes the accepted jobs of a group; the wallets are locked already and cover them.
pub(super) async fn write(tx: &DatabaseTransaction, accepted: &[&NewJob]) -> Result<(), DbErr> {
    match tx.get_database_backend() {
        DatabaseBackend::Postgres => at_once(tx, accepted).await,
        _ => {
            insert(tx, accepted).await?;
            hold(tx, accepted).await
        }
    }
}

/// Only a record that has expired can be in the way of an idempotency key: it is replaced.
const AT_ONCE: &str = "
WITH given AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset($1::text::jsonb) AS given (
        id uuid, workspace_id uuid, api_key_id uuid, entry_id uuid, model text, kind text, pool text,
        input jsonb, metadata jsonb, resolved jsonb, credits bigint, outputs integer,
        key text, hash text, created_at bigint, queue_deadline bigint, expires_at bigint)
), new_jobs AS (
    INSERT INTO jobs (id, workspace_id, api_key_id, model, kind, pool, state, input, metadata,
        resolved, outputs_expected, created_at, ready_at, queue_deadline, expires_at)
    SELECT id, workspace_id, api_key_id, model, kind, pool, 'queued', input, metadata,
        resolved, outputs, created_at, created_at, queue_deadline, expires_at FROM given
), new_holds AS (
    INSERT INTO holds (job_id, workspace_id, amount, opened_at)
    SELECT id, workspace_id, credits, created_at FROM given
), new_entries AS (
    INSERT INTO ledger_entries
        (id, workspace_id, kind, reference, from_account, to_account, amount, created_at)
    SELECT entry_id, workspace_id, 'hold', id, 'available', 'held', credits, created_at FROM given
), new_keys AS (
    INSERT INTO idempotency_keys (workspace_id, key, body_hash, job_id, created_at)
    SELECT workspace_id, key, decode(hash, 'hex'), id, created_at FROM given WHERE key IS NOT NULL
    ON CONFLICT (workspace_id, key) DO UPDATE SET body_hash = excluded.body_hash,
        job_id = excluded.job_id, created_at = excluded.created_at
)
UPDATE wallets SET available = available - spent.credits, held = held + spent.credits
FROM (SELECT workspace_id, CAST(sum(credits) AS bigint) AS credits FROM given GROUP BY workspace_id)
    AS spent
WHERE wallets.workspace_id = spent.workspace_id";

async fn at_once(tx: &DatabaseTransaction, accepted: &[&NewJob]) -> Result<(), DbErr> {
    let given: Vec<serde_json::Value> = accepted
        .iter()
        .map(|job| {
            json!({
                "id": job.id.0, "workspace_id": job.workspace_id.0,
                "api_key_id": job.api_key_id.map(|id| id.0), "entry_id": EntryId::generate().0,
                "model": job.model, "kind": job.kind, "pool": job.pool, "input": job.input,
                "metadata": job.metadata, "resolved": job.resolved, "credits": job.credits.0,
                "outputs": job.outputs_expected,
                "key": job.idempotency.as_ref().map(|(key, _)| key),
                "hash": job.idempotency.as_ref().map(|(_, hash)| hex::encode(hash)),
                "created_at": job.created_at.0,
                "queue_deadline": job.created_at.after(policy::QUEUE_LIMIT).0,
                "expires_at": job.expires_at.0,
            })
        })
        .collect();
    let given = serde_json::to_string(&given).map_err(|error| DbErr::Json(error.to_string()))?;
    tx.execute_raw(sql(tx, AT_ONCE, [given.into()])).await?;
    Ok(())
}

async fn insert(tx: &DatabaseTransaction, accepted: &[&NewJob]) -> Result<(), DbErr> {
    let rows = accepted.iter().map(|job| job_row(job));
    jobs::Entity::insert_many(rows).exec_without_returning(tx).await?;
    let keys: Vec<_> = accepted
        .iter()
        .filter_map(|job| {
            let (key, body_hash) = job.idempotency.as_ref()?;
            Some(idempotency_keys::ActiveModel {
                workspace_id: Set(job.workspace_id),
                key: Set(key.clone()),
                body_hash: Set(body_hash.to_vec()),
                job_id: Set(job.id),
                created_at: Set(job.created_at),
            })
        })
        .collect();
    if keys.is_empty() {
        return Ok(());
    }
    // Only a record that has expired can be in the way: it is replaced.
    let replace =
        OnConflict::columns([idempotency_keys::Column::WorkspaceId, idempotency_keys::Column::Key])
            .update_columns([
                idempotency_keys::Column::BodyHash,
                idempotency_keys::Column::JobId,
                idempotency_keys::Column::CreatedAt,
            ])
            .to_owned();
    idempotency_keys::Entity::insert_many(keys)
        .on_conflict(replace)
        .exec_without_returning(tx)
        .await?;
    Ok(())
}

fn job_row(job: &NewJob) -> jobs::ActiveModel {
    jobs::ActiveModel {
        id: Set(job.id),
        workspace_id: Set(job.workspace_id),
        api_key_id: Set(job.api_key_id),
        model: Set(job.model.clone()),
        kind: Set(job.kind),
        pool: Set(job.pool.clone()),
        state: Set(JobState::Queued),
        input: Set(job.input.clone()),
        metadata: Set(job.metadata.clone()),
        resolved: Set(job.resolved.clone()),
        outputs_expected: Set(job.outputs_expected),
        created_at: Set(job.created_at),
        ready_at: Set(job.created_at),
        queue_deadline: Set(job.created_at.after(policy::QUEUE_LIMIT)),
        expires_at: Set(job.expires_at),
        ..Default::default()
    }
}

async fn hold(tx: &DatabaseTransaction, accepted: &[&NewJob]) -> Result<(), DbErr> {
    let rows = accepted.iter().map(|job| holds::ActiveModel {
        job_id: Set(job.id),
        workspace_id: Set(job.workspace_id),
        amount: Set(job.credits),
        opened_at: Set(job.created_at),
        ..Default::default()
    });
    holds::Entity::insert_many(rows).exec_without_returning(tx).await?;
    let postings: Vec<post::Posting> = accepted
        .iter()
        .map(|job| post::Posting {
            workspace_id: job.workspace_id,
            kind: EntryKind::Hold,
            reference: job.id.0,
            amount: job.credits,
            at: job.created_at,
        })
        .collect();
    post::write(tx, &postings).await?;

    let mut sums: BTreeMap<WorkspaceId, i64> = BTreeMap::new();
    for job in accepted {
        // Each sum is covered by a balance, so it fits.
        *sums.entry(job.workspace_id).or_default() += job.credits.0;
    }
    let rows: Vec<String> =
        (0..sums.len()).map(|n| format!("(${}, ${})", 2 * n + 1, 2 * n + 2)).collect();
    let text = format!(
        "WITH d (workspace_id, amount) AS (VALUES {}) UPDATE wallets SET available = available - d.amount, \
         held = held + d.amount FROM d WHERE wallets.workspace_id = d.workspace_id",
        rows.join(", "),
    );
    let values = sums.into_iter().flat_map(|(id, sum)| [Value::from(id.0), Value::from(sum)]);
    tx.execute_raw(sql(tx, text, values)).await?;
    Ok(())
}
