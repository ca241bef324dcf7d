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
//!
//! | file | what |
//! |---|---|
//! | `request` | the transaction that ends the account |
//! | `content` | jobs, uploads, exports and their files |
//! | `rest` | words and logs besides |

mod content;
mod request;
mod rest;

use std::time::Duration;

use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, DatabaseTransaction, DbErr, DeriveActiveEnum,
    EntityTrait, EnumIter, ExprTrait, PaginatorTrait as _, QueryFilter, QueryOrder, QuerySelect,
    sea_query::Expr,
};
use serde::{Deserialize, Serialize};

use crate::{
    Effects, Timestamp,
    ids::{ErasureId, JobId},
    job,
    tables::{erasures, jobs, mails},
};

pub use content::{Batch, batch, erase_batch};
pub use request::{EraseError, Proof, Requested, request_erasure, token_hash};
pub use rest::{erase_logs_again, erase_rest};

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

/// draining -> erasing: every job has ended. In one transaction: nobody comes by here again to note
/// the copies at providers.
///
/// # Errors
/// When the database fails.
pub async fn begin_erasing(
    db: &DatabaseTransaction,
    erasure: &erasures::Model,
    now: Timestamp,
) -> Result<(), DbErr> {
    step(db, erasure, ErasureState::Draining, ErasureState::Erasing).await?;
    let asked = super::copies::note_earlier(db, erasure, now).await?;
    let asked = i64::try_from(asked).unwrap_or(i64::MAX);
    erasures::Entity::update_many()
        .col_expr(
            erasures::Column::CopiesAsked,
            Expr::col(erasures::Column::CopiesAsked).add(asked),
        )
        .filter(erasures::Column::Id.eq(erasure.id))
        .exec(db)
        .await?;
    erasures::Entity::update_many()
        .set(erasures::ActiveModel { drained_at: Set(Some(now)), ..Default::default() })
        .filter(erasures::Column::Id.eq(erasure.id))
        .filter(erasures::Column::DrainedAt.is_null())
        .exec(db)
        .await?;
    Ok(())
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
