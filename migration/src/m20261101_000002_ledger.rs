//! Wallets, the ledger and its erasable notes.

use sea_orm_migration::prelude::*;

use crate::ddl;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const UP: &str = "
CREATE TABLE wallets (
    workspace_id {uuid} NOT NULL PRIMARY KEY REFERENCES workspaces (id),
    available bigint NOT NULL DEFAULT 0 CHECK (available >= 0),
    held bigint NOT NULL DEFAULT 0 CHECK (held >= 0)
);
CREATE TABLE ledger_entries (
    id {uuid} NOT NULL PRIMARY KEY,
    workspace_id {uuid} NOT NULL,
    kind text NOT NULL,
    reference {uuid} NOT NULL,
    from_account text NOT NULL,
    to_account text NOT NULL,
    amount bigint NOT NULL CHECK (amount > 0),
    created_at bigint NOT NULL
);
CREATE UNIQUE INDEX ledger_entries_once ON ledger_entries (kind, reference);
CREATE INDEX ledger_entries_workspace ON ledger_entries (workspace_id, id);
CREATE TABLE entry_notes (
    entry_id {uuid} NOT NULL PRIMARY KEY REFERENCES ledger_entries (id),
    note text NOT NULL
);
";

const DOWN: &str = "
DROP TABLE entry_notes;
DROP TABLE ledger_entries;
DROP TABLE wallets;
";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        ddl::run(manager, UP).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        ddl::run(manager, DOWN).await
    }
}
