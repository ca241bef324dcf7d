//! The end of an account.
//!
//! One transaction takes the person out of their own row (address, name, password, identities), ends
//! sessions and revokes keys, and writes the receipt. From then on the address is free, and nobody
//! can act for the account. The rest is done step by step by the scheduler:
//!
//!     requested -> draining -> erasing -> erased
//!
//! `draining` cancels live jobs and waits until each is settled; `erasing` empties jobs, deletes
//! files, logs and words in small batches, files first. Every step can be repeated, so a crash at
//! any point costs nothing. What stays: the ledger (ids and amounts), emptied job rows that it points
//! to, and the receipt, which holds numbers only.

use std::time::Duration;

use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, DatabaseTransaction, DbErr, DeriveActiveEnum,
    EntityTrait, EnumIter, ExprTrait, PaginatorTrait as _, QueryFilter, QueryOrder, QuerySelect,
    sea_query::Expr,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::{copies, forget_exports};
use crate::{
    Effects, Timestamp,
    db::sql,
    ids::{ApiKeyId, ErasureId, ExportId, JobId, UploadId, UserId, WorkspaceId},
    job,
    mail::{self, Template},
    tables::{
        api_keys, erasures, exports, identities, jobs, mail_tokens, mails, outputs, sessions,
        sign_ups, uploads, users, workspaces,
    },
    uploads as uploading,
};

/// How long the last mail to a person may wait for the mail server.
const LAST_MAIL: Duration = Duration::from_secs(15 * 60);

/// How far an erasure has come.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum, Serialize, Deserialize,
)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum ErasureState {
    /// Nobody can act for the account any more.
    Requested,
    /// Its jobs are being ended.
    Draining,
    /// Its content and logs are being deleted.
    Erasing,
    /// Nothing is left.
    Erased,
}

/// Who asked for an erasure.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum, Serialize, Deserialize,
)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum AskedBy {
    /// The person.
    Owner,
    /// An operator, for a person who wrote.
    Operator,
}

/// Why an account cannot be erased.
#[derive(Debug, thiserror::Error)]
pub enum EraseError {
    /// There is none, or none any more.
    #[error("there is no such account")]
    NoAccount,
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbErr),
}

/// What comes with a request to erase an account.
pub struct Proof<'a> {
    /// Who asks.
    pub asked_by: AskedBy,
    /// What opens the receipt.
    pub token: String,
    /// The keyed hash of an address.
    pub mark: &'a (dyn Fn(&str) -> [u8; 32] + Sync),
}

/// What is stored of a receipt's token.
#[must_use]
pub fn token_hash(token: &str) -> Vec<u8> {
    Sha256::digest(token.as_bytes()).to_vec()
}

/// An erasure that has begun.
#[derive(Debug, Clone)]
pub struct Requested {
    /// Its receipt.
    pub erasure: erasures::Model,
    /// What is to be announced.
    pub effects: Effects,
}

/// Begins the end of an account, in the caller's transaction.
///
/// # Errors
/// See [`EraseError`]; nothing is changed then.
pub async fn request_erasure(
    tx: &DatabaseTransaction,
    user_id: UserId,
    proof: &Proof<'_>,
    now: Timestamp,
) -> Result<Requested, EraseError> {
    let user = users::Entity::find_by_id(user_id).one(tx).await?.ok_or(EraseError::NoAccount)?;
    let workspace = workspaces::Entity::find()
        .filter(workspaces::Column::OwnerId.eq(user_id))
        .one(tx)
        .await?
        .ok_or(EraseError::NoAccount)?;
    forget_address(tx, &user.email).await?;
    let emptied = users::Entity::update_many()
        .set(nobody(now))
        .filter(users::Column::Id.eq(user_id))
        .filter(users::Column::ErasedAt.is_null())
        .exec(tx)
        .await?;
    if emptied.rows_affected != 1 {
        return Err(EraseError::NoAccount);
    }
    let erasure = erasures::ActiveModel {
        id: Set(ErasureId::generate()),
        user_id: Set(user_id),
        workspace_id: Set(workspace.id),
        token_hash: Set(token_hash(&proof.token)),
        address_mark: Set(Some((proof.mark)(&user.email).to_vec())),
        asked_by: Set(proof.asked_by),
        state: Set(ErasureState::Requested),
        requested_at: Set(now),
        ..Default::default()
    };
    let erasure = erasures::Entity::insert(erasure).exec_with_returning(tx).await?;
    let revoked = revoke_all(tx, user_id, now).await?;
    let effects = Effects { revoked, ..Effects::default() };
    let sessions = sign_out(tx, user_id).await?;
    let gone = Template::AccountDeleted;
    mail::enqueue(tx, Some(user_id), gone, &user.email, None, now).await?;
    erasures::Entity::update_many()
        .col_expr(erasures::Column::Sessions, Expr::value(i64::try_from(sessions).unwrap_or(0)))
        .filter(erasures::Column::Id.eq(erasure.id))
        .exec(tx)
        .await?;
    Ok(Requested { erasure, effects })
}

/// What waits for an address without belonging to an account.
async fn forget_address(tx: &DatabaseTransaction, email: &str) -> Result<(), DbErr> {
    sign_ups::Entity::delete_many().filter(sign_ups::Column::Email.eq(email)).exec(tx).await?;
    mails::Entity::delete_many().filter(mails::Column::Recipient.eq(email)).exec(tx).await?;
    Ok(())
}

/// Ends sessions and forgets every other way in; how many sessions it were.
async fn sign_out(tx: &DatabaseTransaction, user_id: UserId) -> Result<u64, DbErr> {
    mails::Entity::delete_many().filter(mails::Column::UserId.eq(user_id)).exec(tx).await?;
    let tokens = mail_tokens::Entity::delete_many();
    tokens.filter(mail_tokens::Column::UserId.eq(user_id)).exec(tx).await?;
    let known = identities::Entity::delete_many();
    known.filter(identities::Column::UserId.eq(user_id)).exec(tx).await?;
    let ended = sessions::Entity::delete_many().filter(sessions::Column::UserId.eq(user_id));
    Ok(ended.exec(tx).await?.rows_affected)
}

/// A row that is nobody. The placeholder is random: nothing leads back from it, and it is unique.
fn nobody(now: Timestamp) -> users::ActiveModel {
    users::ActiveModel {
        email: Set(format!("{}@erased.invalid", Uuid::new_v4().simple())),
        name: Set(None),
        password_hash: Set(None),
        email_verified_at: Set(None),
        role: Set(users::Role::User),
        erased_at: Set(Some(now)),
        ..Default::default()
    }
}

async fn revoke_all(
    tx: &DatabaseTransaction,
    user_id: UserId,
    now: Timestamp,
) -> Result<Vec<ApiKeyId>, DbErr> {
    let revoked = api_keys::Entity::update_many()
        .col_expr(api_keys::Column::RevokedAt, Expr::value(now.0))
        .filter(api_keys::Column::UserId.eq(user_id))
        .filter(api_keys::Column::RevokedAt.is_null())
        .exec_with_returning(tx)
        .await?;
    Ok(revoked.into_iter().map(|key| key.id).collect())
}

/// A receipt, for whoever has its token.
///
/// # Errors
/// When the database fails.
pub async fn receipt(
    db: &impl ConnectionTrait,
    id: ErasureId,
) -> Result<Option<erasures::Model>, DbErr> {
    erasures::Entity::find_by_id(id).one(db).await
}

/// Up to `limit` erasures that have not come to their end, oldest first.
///
/// # Errors
/// When the database fails.
pub async fn next_erasures(
    db: &impl ConnectionTrait,
    limit: u64,
) -> Result<Vec<erasures::Model>, DbErr> {
    erasures::Entity::find()
        .filter(erasures::Column::State.ne(ErasureState::Erased))
        .order_by_asc(erasures::Column::RequestedAt)
        .limit(limit)
        .all(db)
        .await
}

/// requested | draining: asks up to `limit` live jobs of the account to end. The flag says whether
/// none is left.
///
/// # Errors
/// When the database fails.
pub async fn drain(
    tx: &DatabaseTransaction,
    erasure: &erasures::Model,
    limit: u64,
    now: Timestamp,
) -> Result<(Effects, bool), DbErr> {
    step(tx, erasure, ErasureState::Requested, ErasureState::Draining).await?;
    let live = jobs::Entity::find()
        .filter(jobs::Column::WorkspaceId.eq(erasure.workspace_id))
        .filter(jobs::Column::FinishedAt.is_null());
    let asked: Vec<JobId> = live
        .clone()
        .select_only()
        .column(jobs::Column::Id)
        .filter(jobs::Column::CancelRequested.eq(false))
        .filter(jobs::Column::State.ne(job::JobState::Storing))
        .order_by_asc(jobs::Column::Id)
        .limit(limit)
        .into_tuple()
        .all(tx)
        .await?;
    let mut effects = Effects::default();
    for id in asked {
        effects.merge(job::cancel(tx, erasure.workspace_id, id, now).await?.unwrap_or_default());
    }
    Ok((effects, live.count(tx).await? == 0))
}

/// draining -> erasing: every job has ended.
///
/// # Errors
/// When the database fails.
pub async fn begin_erasing(
    db: &impl ConnectionTrait,
    erasure: &erasures::Model,
    now: Timestamp,
) -> Result<(), DbErr> {
    step(db, erasure, ErasureState::Draining, ErasureState::Erasing).await?;
    erasures::Entity::update_many()
        .set(erasures::ActiveModel { drained_at: Set(Some(now)), ..Default::default() })
        .filter(erasures::Column::Id.eq(erasure.id))
        .filter(erasures::Column::DrainedAt.is_null())
        .exec(db)
        .await?;
    Ok(())
}

/// Content that goes together: its files first, then [`erase_batch`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// Jobs to be emptied.
    pub jobs: Vec<JobId>,
    /// Uploads to be forgotten.
    pub uploads: Vec<UploadId>,
    /// Exports to be forgotten.
    pub exports: Vec<ExportId>,
    /// Files of the jobs that are stored.
    pub job_keys: Vec<String>,
    /// Files of the uploads.
    pub upload_keys: Vec<String>,
}

impl Batch {
    /// Whether nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty() && self.uploads.is_empty() && self.exports.is_empty()
    }
}

/// The next content of the account, up to `limit` of each kind.
///
/// # Errors
/// When the database fails.
pub async fn batch(
    db: &impl ConnectionTrait,
    workspace_id: WorkspaceId,
    user_id: UserId,
    limit: u64,
) -> Result<Batch, DbErr> {
    let jobs: Vec<JobId> = jobs::Entity::find()
        .select_only()
        .column(jobs::Column::Id)
        .filter(jobs::Column::WorkspaceId.eq(workspace_id))
        .filter(jobs::Column::ErasedAt.is_null())
        .filter(jobs::Column::FinishedAt.is_not_null())
        .order_by_asc(jobs::Column::Id)
        .limit(limit)
        .into_tuple()
        .all(db)
        .await?;
    let job_keys = outputs::Entity::find()
        .select_only()
        .column(outputs::Column::Key)
        .filter(outputs::Column::JobId.is_in(jobs.iter().copied()))
        .filter(outputs::Column::DeletedAt.is_null())
        .into_tuple()
        .all(db)
        .await?;
    let left: Vec<(UploadId, String)> = uploads::Entity::find()
        .select_only()
        .columns([uploads::Column::Id, uploads::Column::Key])
        .filter(uploads::Column::WorkspaceId.eq(workspace_id))
        .order_by_asc(uploads::Column::Id)
        .limit(limit)
        .into_tuple()
        .all(db)
        .await?;
    let exports: Vec<ExportId> = exports::Entity::find()
        .select_only()
        .column(exports::Column::Id)
        .filter(exports::Column::UserId.eq(user_id))
        .limit(limit)
        .into_tuple()
        .all(db)
        .await?;
    let (uploads, upload_keys) = left.into_iter().unzip();
    Ok(Batch { jobs, uploads, exports, job_keys, upload_keys })
}

/// Empties or deletes the rows of content whose files are gone, and counts them in the receipt.
///
/// # Errors
/// When the database fails.
pub async fn erase_batch(
    tx: &DatabaseTransaction,
    erasure: &erasures::Model,
    batch: &Batch,
    now: Timestamp,
) -> Result<Effects, DbErr> {
    // Whoever repeats a step finds the same jobs only if the step before was not committed.
    let still: Vec<JobId> = jobs::Entity::find()
        .select_only()
        .column(jobs::Column::Id)
        .filter(jobs::Column::Id.is_in(batch.jobs.iter().copied()))
        .filter(jobs::Column::ErasedAt.is_null())
        .filter(jobs::Column::FinishedAt.is_not_null())
        .into_tuple()
        .all(tx)
        .await?;
    let asked = copies::note(tx, erasure.id, &still, now).await?;
    let effects = job::erase(tx, &still, now).await?;
    let uploads = uploading::forget(tx, &batch.uploads).await?;
    let exports = forget_exports(tx, &batch.exports).await?;
    let add = |column: erasures::Column, count: u64| {
        (column, Expr::col(column).add(i64::try_from(count).unwrap_or(i64::MAX)))
    };
    let mut counted = erasures::Entity::update_many();
    for (column, sum) in [
        add(erasures::Column::Jobs, still.len() as u64),
        add(erasures::Column::Files, batch.job_keys.len() as u64),
        add(erasures::Column::Uploads, uploads),
        add(erasures::Column::Exports, exports),
        add(erasures::Column::CopiesAsked, asked),
    ] {
        counted = counted.col_expr(column, sum);
    }
    counted.filter(erasures::Column::Id.eq(erasure.id)).exec(tx).await?;
    Ok(effects)
}

/// Deletes up to `limit` rows of each kind that hold words or logs of the account; how many went.
///
/// # Errors
/// When the database fails.
pub async fn erase_rest(
    tx: &DatabaseTransaction,
    erasure: &erasures::Model,
    limit: u64,
) -> Result<u64, DbErr> {
    let (user, workspace) = (erasure.user_id, erasure.workspace_id);
    // Jobs that retention had emptied before may have got callbacks or handles since.
    let mut gone = late(tx, workspace).await?;
    let limit_value = i64::try_from(limit).unwrap_or(i64::MAX);
    let notes = "DELETE FROM entry_notes WHERE entry_id IN (SELECT n.entry_id FROM entry_notes n \
                 JOIN ledger_entries e ON e.id = n.entry_id WHERE e.workspace_id = $1 LIMIT $2)";
    let values = [workspace.0.into(), limit_value.into()];
    gone += tx.execute_raw(sql(tx, notes, values)).await?.rows_affected();
    let keys = "DELETE FROM idempotency_keys WHERE workspace_id = $1 AND key IN \
                (SELECT key FROM idempotency_keys WHERE workspace_id = $1 LIMIT $2)";
    let values = [workspace.0.into(), limit_value.into()];
    gone += tx.execute_raw(sql(tx, keys, values)).await?.rows_affected();
    gone += logs(tx, erasure, limit_value).await?;
    let spending = "DELETE FROM key_spending WHERE key_id IN \
                    (SELECT id FROM api_keys WHERE user_id = $1)";
    tx.execute_raw(sql(tx, spending, [user.0.into()])).await?;
    let keys = api_keys::Entity::delete_many().filter(api_keys::Column::UserId.eq(user));
    let keys = keys.exec(tx).await?.rows_affected;
    erasures::Entity::update_many()
        .col_expr(
            erasures::Column::ApiKeys,
            Expr::col(erasures::Column::ApiKeys).add(i64::try_from(keys).unwrap_or(0)),
        )
        .filter(erasures::Column::Id.eq(erasure.id))
        .exec(tx)
        .await?;
    Ok(gone + keys)
}

/// Takes the person out of logs; the receipt counts the rows.
async fn logs(
    tx: &DatabaseTransaction,
    erasure: &erasures::Model,
    limit: i64,
) -> Result<u64, DbErr> {
    let audit = "UPDATE audit_events SET address = NULL, browser = NULL, detail = '{}' WHERE id IN \
                 (SELECT id FROM audit_events WHERE (user_id = $1 OR actor_id = $1) AND \
                  (address IS NOT NULL OR browser IS NOT NULL OR CAST(detail AS text) <> '{}') \
                  LIMIT $2)";
    let values = [erasure.user_id.0.into(), limit.into()];
    let mut gone = tx.execute_raw(sql(tx, audit, values)).await?.rows_affected();
    // The rows have no ids: those of the oldest moments go first.
    let usage = "DELETE FROM usage_log WHERE workspace_id = $1 AND at <= (SELECT max(at) FROM \
                 (SELECT at FROM usage_log WHERE workspace_id = $1 ORDER BY at LIMIT $2) AS oldest)";
    let values = [erasure.workspace_id.0.into(), limit.into()];
    gone += tx.execute_raw(sql(tx, usage, values)).await?.rows_affected();
    erasures::Entity::update_many()
        .col_expr(
            erasures::Column::LogRows,
            Expr::col(erasures::Column::LogRows).add(i64::try_from(gone).unwrap_or(0)),
        )
        .filter(erasures::Column::Id.eq(erasure.id))
        .exec(tx)
        .await?;
    Ok(gone)
}

/// Requests that were open for long are logged when they end: looks once more at accounts that were
/// erased within a day. How many rows went.
///
/// # Errors
/// When the database fails.
pub async fn erase_logs_again(tx: &DatabaseTransaction, now: Timestamp) -> Result<u64, DbErr> {
    let day = Duration::from_secs(86_400);
    let young = erasures::Entity::find()
        .filter(erasures::Column::State.eq(ErasureState::Erased))
        .filter(erasures::Column::ErasedAt.gt(now.before(day)))
        .all(tx)
        .await?;
    let mut gone = 0;
    for erasure in young {
        gone += logs(tx, &erasure, 1_000).await?;
    }
    Ok(gone)
}

/// What came for jobs after they were emptied.
async fn late(tx: &DatabaseTransaction, workspace: WorkspaceId) -> Result<u64, DbErr> {
    let handles = "UPDATE attempts SET handle = NULL WHERE handle IS NOT NULL AND job_id IN \
                   (SELECT id FROM jobs WHERE workspace_id = $1 AND erased_at IS NOT NULL)";
    let callbacks = "DELETE FROM callbacks WHERE attempt_id IN (SELECT a.id FROM attempts a \
                     JOIN jobs j ON j.id = a.job_id \
                     WHERE j.workspace_id = $1 AND j.erased_at IS NOT NULL)";
    let mut gone = 0;
    for text in [handles, callbacks] {
        gone += tx.execute_raw(sql(tx, text, [workspace.0.into()])).await?.rows_affected();
    }
    Ok(gone)
}

/// erasing -> erased, if nothing is left. `false`: something came meanwhile; go on.
///
/// # Errors
/// When the database fails.
pub async fn finish(
    tx: &DatabaseTransaction,
    erasure: &erasures::Model,
    now: Timestamp,
) -> Result<bool, DbErr> {
    let live = jobs::Entity::find()
        .filter(jobs::Column::WorkspaceId.eq(erasure.workspace_id))
        .filter(jobs::Column::ErasedAt.is_null())
        .count(tx)
        .await?;
    let left = batch(tx, erasure.workspace_id, erasure.user_id, 1).await?;
    if waiting_mails(tx, erasure, now).await? > 0 {
        return Ok(false);
    }
    if live > 0 || !left.is_empty() {
        // A job that slipped in is drained like the others.
        step(tx, erasure, ErasureState::Erasing, ErasureState::Draining).await?;
        return Ok(false);
    }
    let done = erasures::Entity::update_many()
        .set(erasures::ActiveModel {
            state: Set(ErasureState::Erased),
            address_mark: Set(None),
            erased_at: Set(Some(now)),
            ..Default::default()
        })
        .filter(erasures::Column::Id.eq(erasure.id))
        .filter(erasures::Column::State.eq(ErasureState::Erasing))
        .exec(tx)
        .await?;
    Ok(done.rows_affected == 1)
}

/// How many mails to the person wait. The one that tells of the deletion may take a while; one that
/// cannot be sent is given up.
///
/// # Errors
/// When the database fails.
pub async fn waiting_mails(
    db: &impl ConnectionTrait,
    erasure: &erasures::Model,
    now: Timestamp,
) -> Result<u64, DbErr> {
    let mine = mails::Column::UserId.eq(erasure.user_id);
    if now.since(erasure.requested_at) > LAST_MAIL {
        mails::Entity::delete_many().filter(mine.clone()).exec(db).await?;
    }
    mails::Entity::find().filter(mine).count(db).await
}

async fn step(
    db: &impl ConnectionTrait,
    erasure: &erasures::Model,
    from: ErasureState,
    to: ErasureState,
) -> Result<(), DbErr> {
    erasures::Entity::update_many()
        .set(erasures::ActiveModel { state: Set(to), ..Default::default() })
        .filter(erasures::Column::Id.eq(erasure.id))
        .filter(erasures::Column::State.eq(from))
        .exec(db)
        .await?;
    Ok(())
}
