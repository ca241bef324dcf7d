//! Giving credits away: grants → available.

use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, ExprTrait, QueryFilter,
    sea_query::Expr,
};
use uuid::Uuid;

use super::{EntryKind, post};
use crate::{
    Credits, Timestamp,
    ids::WorkspaceId,
    tables::{entry_notes, ledger_entries, wallets},
};

/// Why a grant was refused.
#[derive(Debug, thiserror::Error)]
pub enum GrantError {
    /// Zero or less.
    #[error("a grant must be at least 1 credit")]
    NotPositive,
    /// The balance would not fit.
    #[error("the balance would be out of range")]
    OutOfRange,
    /// The workspace has no wallet.
    #[error("there is no such workspace")]
    NoWallet,
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbErr),
}

/// Grants `amount` to the workspace for `reason`, inside the caller's transaction. Answers with
/// the wallet afterwards.
///
/// # Errors
/// See [`GrantError`]; the transaction must then be rolled back.
pub async fn grant(
    db: &impl ConnectionTrait,
    workspace_id: WorkspaceId,
    amount: Credits,
    reason: &str,
    now: Timestamp,
) -> Result<wallets::Model, GrantError> {
    grant_once(db, workspace_id, amount, reason, Uuid::now_v7(), now).await
}

/// The same under a reference of the caller's: where it stands in the ledger already, nothing is
/// granted and the database says that the entry is there.
///
/// # Errors
/// See [`GrantError`]; the transaction must then be rolled back.
pub async fn grant_once(
    db: &impl ConnectionTrait,
    workspace_id: WorkspaceId,
    amount: Credits,
    reason: &str,
    reference: Uuid,
    now: Timestamp,
) -> Result<wallets::Model, GrantError> {
    if amount <= Credits::ZERO {
        return Err(GrantError::NotPositive);
    }
    let room = Credits(i64::MAX).minus(amount).map_err(|_| GrantError::OutOfRange)?;
    let changed = wallets::Entity::update_many()
        .col_expr(wallets::Column::Available, Expr::col(wallets::Column::Available).add(amount.0))
        .filter(wallets::Column::WorkspaceId.eq(workspace_id))
        .filter(wallets::Column::Available.lte(room))
        .exec_with_returning(db)
        .await?;
    let Some(wallet) = changed.into_iter().next() else {
        let exists = wallets::Entity::find_by_id(workspace_id).one(db).await?.is_some();
        return Err(if exists { GrantError::OutOfRange } else { GrantError::NoWallet });
    };
    let posting =
        post::Posting { workspace_id, kind: EntryKind::Grant, reference, amount, at: now };
    for entry_id in post::write(db, &[posting]).await? {
        let note =
            entry_notes::ActiveModel { entry_id: Set(entry_id), note: Set(reason.to_owned()) };
        entry_notes::Entity::insert(note).exec_without_returning(db).await?;
    }
    Ok(wallet)
}

/// The grant of this reference.
///
/// # Errors
/// When the database fails.
pub async fn find_grant(
    db: &impl ConnectionTrait,
    reference: Uuid,
) -> Result<Option<ledger_entries::Model>, DbErr> {
    ledger_entries::Entity::find()
        .filter(ledger_entries::Column::Kind.eq(EntryKind::Grant))
        .filter(ledger_entries::Column::Reference.eq(reference))
        .one(db)
        .await
}
