//! What else holds words or traces of the person: notes, keys, logs, and what came late.

use std::time::Duration;

use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseTransaction, DbErr, EntityTrait, ExprTrait, QueryFilter,
    sea_query::Expr,
};

use super::ErasureState;
use crate::{
    Timestamp,
    db::sql,
    ids::WorkspaceId,
    tables::{api_keys, erasures},
};

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
