//! People, their workspaces and their API keys.

use sea_orm_migration::prelude::*;

use crate::ddl;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const UP: &str = "
CREATE TABLE users (
    id {uuid} NOT NULL PRIMARY KEY,
    email text NOT NULL UNIQUE,
    name text,
    created_at bigint NOT NULL
);
CREATE TABLE workspaces (
    id {uuid} NOT NULL PRIMARY KEY,
    owner_id {uuid} NOT NULL REFERENCES users (id),
    name text NOT NULL,
    dispatch_limit integer NOT NULL CHECK (dispatch_limit >= 0),
    dispatched integer NOT NULL DEFAULT 0 CHECK (dispatched >= 0),
    created_at bigint NOT NULL
);
CREATE INDEX workspaces_owner ON workspaces (owner_id);
CREATE TABLE api_keys (
    id {uuid} NOT NULL PRIMARY KEY,
    workspace_id {uuid} NOT NULL REFERENCES workspaces (id),
    user_id {uuid} NOT NULL REFERENCES users (id),
    name text NOT NULL,
    hint text NOT NULL,
    hash {bytes} NOT NULL UNIQUE,
    created_at bigint NOT NULL,
    last_used_at bigint,
    revoked_at bigint
);
CREATE INDEX api_keys_workspace ON api_keys (workspace_id);
";

const DOWN: &str = "
DROP TABLE api_keys;
DROP TABLE workspaces;
DROP TABLE users;
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
