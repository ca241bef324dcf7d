//! The log of requests, in a partition for each day where the database has partitions.

use sea_orm_migration::{prelude::*, sea_orm::DatabaseBackend};

use crate::ddl;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const TABLE: &str = "
CREATE TABLE usage_log (
    at bigint NOT NULL,
    method text NOT NULL,
    route text NOT NULL,
    status integer NOT NULL,
    browser text NOT NULL,
    address text NOT NULL,
    key_id {uuid},
    workspace_id {uuid},
    user_id {uuid},
    model text
)";

/// What belongs to no day's partition; usually empty.
const REST: &str = "
CREATE TABLE usage_log_rest PARTITION OF usage_log DEFAULT;
";

const INDEXES: &str = "
CREATE INDEX usage_log_workspace ON usage_log (workspace_id, at);
";

const SQLITE_INDEXES: &str = "
CREATE INDEX usage_log_at ON usage_log (at);
";

const DOWN: &str = "
DROP TABLE usage_log;
";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() == DatabaseBackend::Postgres {
            ddl::run(manager, &format!("{TABLE} PARTITION BY RANGE (at);{REST}")).await?;
        } else {
            ddl::run(manager, &format!("{TABLE};{SQLITE_INDEXES}")).await?;
        }
        ddl::run(manager, INDEXES).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        ddl::run(manager, DOWN).await
    }
}
