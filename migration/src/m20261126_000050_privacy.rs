//! What people can ask about their data: exports, erasures with their receipts, the marks of
//! addresses that had their free credits, and files that should be there and are not.

use sea_orm_migration::prelude::*;

use crate::ddl;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const UP: &str = "
CREATE TABLE exports (
    id {uuid} NOT NULL PRIMARY KEY,
    user_id {uuid} NOT NULL REFERENCES users (id),
    workspace_id {uuid} NOT NULL REFERENCES workspaces (id),
    state text NOT NULL,
    epoch bigint NOT NULL DEFAULT 0,
    tries integer NOT NULL DEFAULT 0,
    lease_until bigint,
    key text,
    bytes bigint,
    created_at bigint NOT NULL,
    ready_at bigint,
    expires_at bigint NOT NULL
);
CREATE UNIQUE INDEX exports_live ON exports (user_id) WHERE state IN ('queued', 'building');
CREATE INDEX exports_user ON exports (user_id, id);
CREATE INDEX exports_expiring ON exports (expires_at);
CREATE TABLE erasures (
    id {uuid} NOT NULL PRIMARY KEY,
    user_id {uuid} NOT NULL UNIQUE,
    workspace_id {uuid} NOT NULL,
    token_hash {bytes} NOT NULL,
    address_mark {bytes},
    asked_by text NOT NULL,
    state text NOT NULL,
    requested_at bigint NOT NULL,
    drained_at bigint,
    erased_at bigint,
    jobs bigint NOT NULL DEFAULT 0,
    files bigint NOT NULL DEFAULT 0,
    uploads bigint NOT NULL DEFAULT 0,
    exports bigint NOT NULL DEFAULT 0,
    api_keys bigint NOT NULL DEFAULT 0,
    sessions bigint NOT NULL DEFAULT 0,
    log_rows bigint NOT NULL DEFAULT 0,
    copies_asked bigint NOT NULL DEFAULT 0,
    copies_deleted bigint NOT NULL DEFAULT 0,
    copies_kept bigint NOT NULL DEFAULT 0
);
CREATE INDEX erasures_open ON erasures (requested_at) WHERE state <> 'erased';
CREATE TABLE provider_copies (
    attempt_id {uuid} NOT NULL PRIMARY KEY,
    erasure_id {uuid} NOT NULL REFERENCES erasures (id),
    provider text NOT NULL,
    request_id text NOT NULL,
    tries integer NOT NULL DEFAULT 0,
    next_try_at bigint NOT NULL,
    asked_at bigint NOT NULL
);
CREATE INDEX provider_copies_due ON provider_copies (provider, next_try_at);
CREATE TABLE grant_marks (
    mark {bytes} NOT NULL PRIMARY KEY,
    made_at bigint NOT NULL
);
CREATE TABLE lost_files (
    key text NOT NULL PRIMARY KEY,
    found_at bigint NOT NULL
);
CREATE INDEX outputs_kept ON outputs (id) WHERE deleted_at IS NULL;
CREATE INDEX outputs_workspace ON outputs (workspace_id) WHERE deleted_at IS NULL;
CREATE INDEX api_keys_user ON api_keys (user_id);
";

const DOWN: &str = "
DROP INDEX api_keys_user;
DROP INDEX outputs_workspace;
DROP INDEX outputs_kept;
DROP TABLE lost_files;
DROP TABLE grant_marks;
DROP TABLE provider_copies;
DROP TABLE erasures;
DROP TABLE exports;
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
