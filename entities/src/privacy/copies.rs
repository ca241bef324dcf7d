//! Copies at providers, which are asked to delete them when an account ends.
//!
//! A row waits here for each call of an erased job, until a worker of that provider's pool has asked
//! and the provider has answered; the receipt counts the answers. A provider that does not answer
//! is asked again and again, later each time, until its own retention has ended the copy anyway.

use std::time::Duration;

use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, DatabaseTransaction, DbErr, EntityTrait,
    ExprTrait, QueryFilter, QueryOrder, QuerySelect, sea_query::Expr,
};

use crate::{
    Db, Timestamp,
    db::sql,
    ids::{AttemptId, ErasureId, JobId},
    tables::{attempts, erasures, provider_copies},
};

/// How long after a first question it is asked again; doubled each time, up to [`LONGEST`].
const SHORTEST: Duration = Duration::from_secs(30);

/// The longest pause between two questions.
const LONGEST: Duration = Duration::from_secs(6 * 60 * 60);

/// After this no provider keeps anything.
pub(super) const WORTH_ASKING: Duration = Duration::from_secs(30 * 86_400);

/// A copy that is to be asked about.
pub type Due = provider_copies::Model;

/// What a provider said about its copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyFate {
    /// It is deleted, or was gone before.
    Deleted,
    /// The provider deletes nothing on demand; its own retention ends it.
    Kept,
}

/// Notes the copies of these jobs; the call's own id at the provider is what is asked with. Answers
/// with how many there are.
pub(super) async fn note(
    db: &impl ConnectionTrait,
    erasure: ErasureId,
    jobs: &[JobId],
    now: Timestamp,
) -> Result<u64, DbErr> {
    let calls = attempts::Entity::find()
        .filter(attempts::Column::JobId.is_in(jobs.iter().copied()))
        .filter(attempts::Column::RequestId.is_not_null())
        .all(db)
        .await?;
    let rows: Vec<provider_copies::ActiveModel> = calls
        .into_iter()
        .filter_map(|call| {
            Some(provider_copies::ActiveModel {
                attempt_id: Set(call.id),
                erasure_id: Set(erasure),
                provider: Set(call.provider),
                request_id: Set(call.request_id?),
                tries: Set(0),
                next_try_at: Set(now),
                asked_at: Set(now),
            })
        })
        .collect();
    let count = rows.len() as u64;
    if count > 0 {
        provider_copies::Entity::insert_many(rows).exec_without_returning(db).await?;
    }
    Ok(count)
}

/// Notes the copies of the workspace's jobs whose content went before the account: deleted by their
/// owner, or expired. Answers with how many there are.
pub(super) async fn note_earlier(
    db: &impl ConnectionTrait,
    erasure: &erasures::Model,
    now: Timestamp,
) -> Result<u64, DbErr> {
    let text = "INSERT INTO provider_copies \
                (attempt_id, erasure_id, provider, request_id, tries, next_try_at, asked_at) \
                SELECT a.id, $1, a.provider, a.request_id, 0, $2, $2 FROM attempts a \
                JOIN jobs j ON j.id = a.job_id WHERE j.workspace_id = $3 \
                AND j.erased_at IS NOT NULL AND a.request_id IS NOT NULL AND a.started_at > $4 \
                ON CONFLICT DO NOTHING";
    let values = [
        erasure.id.0.into(),
        now.0.into(),
        erasure.workspace_id.0.into(),
        now.before(WORTH_ASKING).0.into(),
    ];
    Ok(db.execute_raw(sql(db, text, values)).await?.rows_affected())
}

/// Up to `limit` copies at the provider that are to be asked about now. Each is put off in the same
/// step, so that two workers do not ask about one.
///
/// # Errors
/// When the database fails.
pub async fn copies_due(
    db: &Db,
    provider: &str,
    limit: u64,
    now: Timestamp,
) -> Result<Vec<Due>, DbErr> {
    let due: Vec<Due> = provider_copies::Entity::find()
        .filter(provider_copies::Column::Provider.eq(provider))
        .filter(provider_copies::Column::NextTryAt.lte(now))
        .order_by_asc(provider_copies::Column::NextTryAt)
        .limit(limit)
        .all(db.read())
        .await?;
    let mut taken = Vec::new();
    for copy in due {
        if copy_tried(db.write(), &copy, now).await? {
            taken.push(copy);
        }
    }
    Ok(taken)
}

/// Puts the next question off. `false`: somebody else asks.
///
/// # Errors
/// When the database fails.
pub async fn copy_tried(
    db: &impl ConnectionTrait,
    copy: &Due,
    now: Timestamp,
) -> Result<bool, DbErr> {
    let doubled = SHORTEST.saturating_mul(1 << copy.tries.clamp(0, 16));
    let done = provider_copies::Entity::update_many()
        .set(provider_copies::ActiveModel {
            tries: Set(copy.tries.saturating_add(1)),
            next_try_at: Set(now.after(doubled.min(LONGEST))),
            ..Default::default()
        })
        .filter(provider_copies::Column::AttemptId.eq(copy.attempt_id))
        .filter(provider_copies::Column::Tries.eq(copy.tries))
        .exec(db)
        .await?;
    Ok(done.rows_affected == 1)
}

/// The provider has answered: the row goes, the receipt counts, in one transaction.
///
/// # Errors
/// When the database fails.
pub async fn copy_settled(
    db: &DatabaseTransaction,
    attempt: AttemptId,
    fate: CopyFate,
) -> Result<(), DbErr> {
    let Some(copy) = provider_copies::Entity::find_by_id(attempt).one(db).await? else {
        return Ok(());
    };
    let gone = provider_copies::Entity::delete_by_id(attempt).exec(db).await?;
    if gone.rows_affected == 1 {
        count(db, copy.erasure_id, fate).await?;
    }
    Ok(())
}

/// Stops asking about copies that have ended by themselves; answers with how many.
///
/// # Errors
/// When the database fails.
pub async fn give_up_copies(
    db: &DatabaseTransaction,
    limit: u64,
    now: Timestamp,
) -> Result<usize, DbErr> {
    let old = provider_copies::Entity::find()
        .filter(provider_copies::Column::AskedAt.lte(now.before(WORTH_ASKING)))
        .limit(limit)
        .all(db)
        .await?;
    for copy in &old {
        copy_settled(db, copy.attempt_id, CopyFate::Kept).await?;
    }
    Ok(old.len())
}

async fn count(db: &impl ConnectionTrait, id: ErasureId, fate: CopyFate) -> Result<(), DbErr> {
    let column = match fate {
        CopyFate::Deleted => erasures::Column::CopiesDeleted,
        CopyFate::Kept => erasures::Column::CopiesKept,
    };
    erasures::Entity::update_many()
        .col_expr(column, Expr::col(column).add(1))
        .filter(erasures::Column::Id.eq(id))
        .exec(db)
        .await?;
    Ok(())
}
