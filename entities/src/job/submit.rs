//! Accepting a group of jobs in one transaction: the wallets are locked, [`decide`] gives each
//! submit its verdict, and what was accepted is inserted with its hold, its ledger entry and its
//! idempotency record.
//!
//! Every submit of a workspace locks that workspace's wallet first, so what is read here cannot
//! change before the commit. Wallets are locked in the order of their ids, against deadlocks.

use std::collections::{HashMap, HashSet};

use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DatabaseBackend, DatabaseTransaction, DbErr,
    EntityTrait, QueryFilter, Value,
};
use serde_json::Value as Json;

use super::{
    Kind,
    decide::{Decision, Keys, Known, Wallet, decide},
    policy, submit_write,
};
use crate::{
    Credits, Effects, Timestamp,
    accounts::{Allowances, SpendingLimit, spending},
    db::{for_update, one_of, sql},
    effects::Verb,
    ids::{ApiKeyId, JobId, UploadId, WorkspaceId},
    tables::idempotency_keys,
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
    /// The API key may not spend so much in this period.
    OverLimit {
        /// What it may still spend.
        left: Credits,
    },
    /// The API key was revoked or has expired meanwhile.
    Revoked,
}

/// Writes the group in the caller's transaction; a verdict for each, in order.
pub(crate) async fn submit_group(
    tx: &DatabaseTransaction,
    group: &[NewJob],
) -> Result<(Vec<Verdict>, Effects), DbErr> {
    let wallets = lock_wallets(tx, group).await?;
    let keys = keys(tx, group).await?;
    let known = known_keys(tx, group).await?;
    let allowances = keys.allowances.clone();
    let decisions = decide(group, wallets, keys, known);

    let accepted: Vec<&NewJob> = group
        .iter()
        .zip(&decisions)
        .filter(|(_, decision)| matches!(decision, Decision::Accept))
        .map(|(job, _)| job)
        .collect();
    let mut effects = Effects::default();
    if !accepted.is_empty() {
        submit_write::write(tx, &accepted).await?;
        if !allowances.is_empty() {
            let holds = accepted
                .iter()
                .filter_map(|job| Some((job.api_key_id?, job.created_at, job.credits)));
            spending::add(tx, allowances.sums(holds)?).await?;
        }
        let mut used = Vec::new();
        for job in &accepted {
            used.extend(job.uploads.iter().map(|upload| (job.id, *upload)));
        }
        uploads::link(tx, used).await?;
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
            Decision::OverLimit { left } => Self::OverLimit { left },
            Decision::Revoked => Self::Revoked,
        }
    }
}

async fn lock_wallets(
    tx: &DatabaseTransaction,
    group: &[NewJob],
) -> Result<HashMap<WorkspaceId, Wallet>, DbErr> {
    let ids: HashSet<WorkspaceId> = group.iter().map(|job| job.workspace_id).collect();
    let backend = tx.get_database_backend();
    let (these, values) = one_of(backend, "workspace_id", 1, ids.into_iter().map(|id| id.0));
    let text = format!(
        "SELECT workspace_id, available, held FROM wallets WHERE {these} ORDER BY workspace_id{}",
        for_update(backend),
    );
    let rows = tx.query_all_raw(sql(tx, text, values)).await?;
    rows.iter()
        .map(|row| {
            let wallet =
                Wallet { available: row.try_get("", "available")?, held: row.try_get("", "held")? };
            Ok((row.try_get("", "workspace_id")?, wallet))
        })
        .collect()
}

/// What the group's keys may do now: the wallets are locked, so that what they have spent stays.
async fn keys(tx: &DatabaseTransaction, group: &[NewJob]) -> Result<Keys, DbErr> {
    let ids: HashSet<ApiKeyId> = group.iter().filter_map(|job| job.api_key_id).collect();
    if ids.is_empty() {
        return Ok(Keys::default());
    }
    let (these, values) = one_of(tx.get_database_backend(), "id", 1, ids.iter().map(|id| id.0));
    let text = format!(
        "SELECT id, expires_at, spend_limit, spend_period FROM api_keys \
         WHERE {these} AND revoked_at IS NULL"
    );
    let (mut live, mut limits) = (HashMap::new(), HashMap::new());
    for row in tx.query_all_raw(sql(tx, text, values)).await? {
        let id: ApiKeyId = row.try_get("", "id")?;
        live.insert(id, row.try_get::<Option<Timestamp>>("", "expires_at")?);
        if let (Some(credits), Some(per)) =
            (row.try_get("", "spend_limit")?, row.try_get("", "spend_period")?)
        {
            limits.insert(id, SpendingLimit { credits, per });
        }
    }
    if limits.is_empty() {
        return Ok(Keys { live, allowances: Allowances::default() });
    }
    let times = group.iter().filter_map(|job| Some((job.api_key_id?, job.created_at)));
    let allowances = Allowances::read(tx, limits, times).await?;
    Ok(Keys { live, allowances })
}

async fn known_keys(
    tx: &DatabaseTransaction,
    group: &[NewJob],
) -> Result<HashMap<(WorkspaceId, String), Known>, DbErr> {
    let mut keys: Vec<(WorkspaceId, &str)> = Vec::new();
    let mut oldest = None;
    for job in group {
        let Some((key, _)) = &job.idempotency else { continue };
        oldest = Some(job.created_at.before(policy::IDEMPOTENCY_LIMIT)).max(oldest);
        keys.push((job.workspace_id, key));
    }
    let Some(oldest) = oldest else { return Ok(HashMap::new()) };
    let rows = match tx.get_database_backend() {
        DatabaseBackend::Postgres => {
            // LATERAL with a limit is planned as one look into the index for each key, whatever
            // the planner believes about a young table.
            let text = "SELECT k.* FROM unnest($1, $2) AS g (workspace_id, key) CROSS JOIN LATERAL (\
                SELECT * FROM idempotency_keys i WHERE i.workspace_id = g.workspace_id \
                AND i.key = g.key LIMIT 1) AS k";
            let values: [Value; 2] = [
                keys.iter().map(|(workspace, _)| workspace.0).collect::<Vec<_>>().into(),
                keys.iter().map(|(_, key)| (*key).to_owned()).collect::<Vec<_>>().into(),
            ];
            idempotency_keys::Entity::find().from_raw_sql(sql(tx, text, values)).all(tx).await?
        }
        _ => {
            let these = keys.iter().fold(Condition::any(), |any, (workspace, key)| {
                any.add(
                    Condition::all()
                        .add(idempotency_keys::Column::WorkspaceId.eq(*workspace))
                        .add(idempotency_keys::Column::Key.eq(*key)),
                )
            });
            idempotency_keys::Entity::find().filter(these).all(tx).await?
        }
    };
    Ok(rows
        .into_iter()
        .filter(|row| row.created_at > oldest)
        .map(|row| {
            let known = Known { body_hash: row.body_hash, job_id: row.job_id };
            ((row.workspace_id, row.key), known)
        })
        .collect())
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
