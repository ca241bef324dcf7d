//! The ledger as its owner sees it.

use std::collections::HashMap;

use sea_orm::{ColumnTrait, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use crate::{
    Db,
    ids::{EntryId, WorkspaceId},
    tables::{entry_notes, ledger_entries},
};

/// The workspace's entries, newest first, each with its note; one more than `limit` if there are
/// more.
///
/// # Errors
/// When the database fails.
pub async fn entries(
    db: &Db,
    workspace_id: WorkspaceId,
    after: Option<EntryId>,
    limit: u64,
) -> Result<Vec<(ledger_entries::Model, Option<String>)>, DbErr> {
    let mut query = ledger_entries::Entity::find()
        .filter(ledger_entries::Column::WorkspaceId.eq(workspace_id))
        .order_by_desc(ledger_entries::Column::Id)
        .limit(limit.saturating_add(1));
    if let Some(after) = after {
        query = query.filter(ledger_entries::Column::Id.lt(after));
    }
    let entries = query.all(db.read()).await?;
    let ids: Vec<EntryId> = entries.iter().map(|entry| entry.id).collect();
    let mut notes: HashMap<EntryId, String> = entry_notes::Entity::find()
        .filter(entry_notes::Column::EntryId.is_in(ids))
        .all(db.read())
        .await?
        .into_iter()
        .map(|note| (note.entry_id, note.note))
        .collect();
    Ok(entries
        .into_iter()
        .map(|entry| {
            let note = notes.remove(&entry.id);
            (entry, note)
        })
        .collect())
}
