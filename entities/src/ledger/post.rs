//! Writing transfers. The caller's transaction also changes whatever the transfer is about.

use sea_orm::{ActiveValue::Set, ConnectionTrait, DbErr, EntityTrait};
use uuid::Uuid;

use super::EntryKind;
use crate::{
    Credits, Timestamp,
    ids::{EntryId, WorkspaceId},
    tables::ledger_entries,
};

/// A transfer to be written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Posting {
    pub(crate) workspace_id: WorkspaceId,
    pub(crate) kind: EntryKind,
    pub(crate) reference: Uuid,
    pub(crate) amount: Credits,
    pub(crate) at: Timestamp,
}

/// Writes the entries; the wallets are the caller's to change, in the same transaction.
/// Answers with the ids that the entries got, in order.
pub(crate) async fn write(
    db: &impl ConnectionTrait,
    postings: &[Posting],
) -> Result<Vec<EntryId>, DbErr> {
    if postings.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<EntryId> = postings.iter().map(|_| EntryId::generate()).collect();
    let rows = postings.iter().zip(&ids).map(|(posting, id)| {
        let (from, to) = posting.kind.accounts();
        ledger_entries::ActiveModel {
            id: Set(*id),
            workspace_id: Set(posting.workspace_id),
            kind: Set(posting.kind),
            reference: Set(posting.reference),
            from_account: Set(from),
            to_account: Set(to),
            amount: Set(posting.amount),
            created_at: Set(posting.at),
        }
    });
    ledger_entries::Entity::insert_many(rows).exec_without_returning(db).await?;
    Ok(ids)
}
