//! Accepting a group of jobs in one transaction: the wallets are locked, [`decide`] gives each
//! submit its verdict, and what was accepted is inserted with its hold, its ledger entry and its
//! idempotency record.
//!
//! Every submit of a workspace locks that workspace's wallet first, so what is read here cannot
//! change before the commit. Wallets are locked in the order of their ids, against deadlocks.

use std::collections::{BTreeMap, HashMap, HashSet};

use sea_orm::{
    ActiveValue::Set, ColumnTrait, Condition, ConnectionTrait, DatabaseTransaction, DbErr,
    EntityTrait, QueryFilter, QuerySelect, Value, sea_query::OnConflict,
};
use serde_json::Value as Json;

use super::{
    JobState, Kind,
    decide::{Decision, Known, Wallet, decide},
    policy,
};
use crate::{
    Credits, Effects, Timestamp,
    db::{for_update, placeholders, sql},
    effects::Verb,
    ids::{ApiKeyId, JobId, UploadId, WorkspaceId},
    ledger::{EntryKind, post},
    tables::{api_keys, holds, idempotency_keys, jobs},
    uploads,
};

/// A job to be accepted; owned, its id made by the caller.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// Made by the caller, so that a lost answer can be cleared up.
    pub id: JobId,
    /// Who pays.
    pub workspace_id: WorkspaceId,
    /// The key that submits it; none for the platform's own sample.
    pub api_key_id: Option<ApiKeyId>,
    /// The public model id.
    pub model: String,
    /// What it makes.
    pub kind: Kind,
    /// The pool of its first route.
    pub pool: String,
    /// The valid input, defaults filled in.
    pub input: Json,
    /// The user's own pairs.
    pub metadata: Json,
    /// What was resolved from the catalogue.
    pub resolved: Json,
    /// The price, which is held.
    pub credits: Credits,
    /// How many files are asked for.
    pub outputs_expected: i32,
    /// The client's idempotency key and the hash of the canonical request.
    pub idempotency: Option<(String, [u8; 32])>,
    /// The uploads that `input` names.
    pub uploads: Vec<UploadId>,
    /// Now.
    pub created_at: Timestamp,
    /// When its content is deleted.
    pub expires_at: Timestamp,
}

/// What became of a submit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The job is committed.
    Accepted,
    /// The same request was accepted before, as this job.
    Replayed(JobId),
    /// The idempotency key belongs to another request.
    KeyConflict,
    /// The wallet does not cover the price.
    Insufficient {
        /// What it has.
        available: Credits,
    },
    /// The API key was revoked meanwhile.
    Revoked,
}

/// Writes the group in the caller's transaction; a verdict for each, in order.
pub(crate) async fn submit_group(
    tx: &DatabaseTransaction,
    group: &[NewJob],
) -> Result<(Vec<Verdict>, Effects), DbErr> {
    let wallets = lock_wallets(tx, group).await?;
    let revoked = revoked_keys(tx, group).await?;
    let known = known_keys(tx, group).await?;
    let decisions = decide(group, wallets, &revoked, known);

    let accepted: Vec<&NewJob> = group
        .iter()
        .zip(&decisions)
        .filter(|(_, decision)| matches!(decision, Decision::Accept))
        .map(|(job, _)| job)
        .collect();
    let mut effects = Effects::default();
    if !accepted.is_empty() {
        insert(tx, &accepted).await?;
        hold(tx, &accepted).await?;
    }
    for job in accepted {
        effects.dispatch.insert(job.pool.clone());
        effects.credits.push((Verb::Hold, job.credits));
    }
    Ok((decisions.into_iter().map(Verdict::from).collect(), effects))
}

impl From<Decision> for Verdict {
    fn from(decision: Decision) -> Self {
        match decision {
            Decision::Accept => Self::Accepted,
            Decision::Replay(job) => Self::Replayed(job),
            Decision::KeyConflict => Self::KeyConflict,
            Decision::Insufficient { available } => Self::Insufficient { available },
            Decision::Revoked => Self::Revoked,
        }
    }
}

async fn lock_wallets(
    tx: &DatabaseTransaction,
    group: &[NewJob],
) -> Result<HashMap<WorkspaceId, Wallet>, DbErr> {
    let ids: HashSet<WorkspaceId> = group.iter().map(|job| job.workspace_id).collect();
    let text = format!(
        "SELECT workspace_id, available, held FROM wallets WHERE workspace_id IN ({}) ORDER BY workspace_id{}",
        placeholders(1, ids.len()),
        for_update(tx.get_database_backend()),
    );
    let rows = tx.query_all_raw(sql(tx, text, ids.into_iter().map(|id| id.0.into()))).await?;
    rows.iter()
        .map(|row| {
            let wallet =
                Wallet { available: row.try_get("", "available")?, held: row.try_get("", "held")? };
            Ok((row.try_get("", "workspace_id")?, wallet))
        })
        .collect()
}

async fn revoked_keys(
    tx: &DatabaseTransaction,
    group: &[NewJob],
) -> Result<HashSet<ApiKeyId>, DbErr> {
    let ids: HashSet<ApiKeyId> = group.iter().filter_map(|job| job.api_key_id).collect();
    if ids.is_empty() {
        return Ok(HashSet::new());
    }
    let live: HashSet<ApiKeyId> = api_keys::Entity::find()
        .select_only()
        .column(api_keys::Column::Id)
        .filter(api_keys::Column::Id.is_in(ids.iter().copied()))
        .filter(api_keys::Column::RevokedAt.is_null())
        .into_tuple()
        .all(tx)
        .await?
        .into_iter()
        .collect();
    Ok(ids.difference(&live).copied().collect())
}

async fn known_keys(
    tx: &DatabaseTransaction,
    group: &[NewJob],
) -> Result<HashMap<(WorkspaceId, String), Known>, DbErr> {
    let mut any = Condition::any();
    let mut oldest = None;
    for job in group {
        let Some((key, _)) = &job.idempotency else { continue };
        oldest = Some(job.created_at.before(policy::IDEMPOTENCY_LIMIT)).max(oldest);
        any = any.add(
            Condition::all()
                .add(idempotency_keys::Column::WorkspaceId.eq(job.workspace_id))
                .add(idempotency_keys::Column::Key.eq(key.as_str())),
        );
    }
    let Some(oldest) = oldest else { return Ok(HashMap::new()) };
    let rows = idempotency_keys::Entity::find().filter(any).all(tx).await?;
    Ok(rows
        .into_iter()
        .filter(|row| row.created_at > oldest)
        .map(|row| {
            let known = Known { body_hash: row.body_hash, job_id: row.job_id };
            ((row.workspace_id, row.key), known)
        })
        .collect())
}

async fn insert(tx: &DatabaseTransaction, accepted: &[&NewJob]) -> Result<(), DbErr> {
    let rows = accepted.iter().map(|job| job_row(job));
    jobs::Entity::insert_many(rows).exec_without_returning(tx).await?;
    let mut used = Vec::new();
    for job in accepted {
        used.extend(job.uploads.iter().map(|upload| (job.id, *upload)));
    }
    uploads::link(tx, used).await?;
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

/// The job that an idempotency key stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replay {
    /// The same request made this job.
    Same(JobId),
    /// The key belongs to another request.
    Other,
}

/// What is known of the workspace's idempotency key before anything is checked: a replay is
/// answered whatever the catalogue says today. `None`: nothing, or no more.
///
/// # Errors
/// When the database fails.
pub async fn find_replay(
    db: &impl ConnectionTrait,
    workspace_id: WorkspaceId,
    key: &str,
    body_hash: &[u8; 32],
    now: Timestamp,
) -> Result<Option<Replay>, DbErr> {
    let row = idempotency_keys::Entity::find_by_id((workspace_id, key.to_owned())).one(db).await?;
    let known = row.filter(|row| row.created_at > now.before(policy::IDEMPOTENCY_LIMIT));
    Ok(known.map(
        |row| {
            if row.body_hash == body_hash { Replay::Same(row.job_id) } else { Replay::Other }
        },
    ))
}
