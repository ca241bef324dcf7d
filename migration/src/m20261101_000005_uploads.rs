//! Media that users hand in, and which jobs use it.

use sea_orm_migration::prelude::*;

use crate::ddl;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const UP: &str = "
CREATE TABLE uploads (
    id {uuid} NOT NULL PRIMARY KEY,
    workspace_id {uuid} NOT NULL REFERENCES workspaces (id),
    key text NOT NULL,
    made_for_job boolean NOT NULL,
    content_type text NOT NULL,
    bytes bigint NOT NULL CHECK (bytes >= 0),
    sha256 text NOT NULL,
    width integer,
    height integer,
    created_at bigint NOT NULL,
    stored_at bigint,
    expires_at bigint NOT NULL,
    deleted_at bigint
);
CREATE UNIQUE INDEX uploads_key ON uploads (key);
CREATE INDEX uploads_workspace ON uploads (workspace_id);
CREATE INDEX uploads_expiring ON uploads (expires_at);
CREATE INDEX uploads_deleted ON uploads (deleted_at) WHERE deleted_at IS NOT NULL;
CREATE TABLE job_uploads (
    job_id {uuid} NOT NULL REFERENCES jobs (id),
    upload_id {uuid} NOT NULL,
    PRIMARY KEY (job_id, upload_id)
);
CREATE INDEX job_uploads_upload ON job_uploads (upload_id);
";

const DOWN: &str = "
DROP TABLE job_uploads;
DROP TABLE uploads;
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
