//! Less to do for each submit: an index that nothing is looked up by, and on PostgreSQL a foreign
//! key that reads and locks a workspace once for every job. A job is written together with a hold
//! on its wallet, which is locked then and refers to the workspace, so there is one.

use sea_orm_migration::{prelude::*, sea_orm::DatabaseBackend};

use crate::ddl;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const UP: &str = "
DROP INDEX holds_open;
";

const DOWN: &str = "
CREATE INDEX holds_open ON holds (workspace_id) WHERE closed_at IS NULL;
";

/// SQLite cannot drop one, and has no other process to lock out.
const POSTGRES_UP: &str = "
ALTER TABLE jobs DROP CONSTRAINT jobs_workspace_id_fkey;
";

const POSTGRES_DOWN: &str = "
ALTER TABLE jobs ADD CONSTRAINT jobs_workspace_id_fkey
    FOREIGN KEY (workspace_id) REFERENCES workspaces (id);
";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() == DatabaseBackend::Postgres {
            ddl::run(manager, POSTGRES_UP).await?;
        }
        ddl::run(manager, UP).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        ddl::run(manager, DOWN).await?;
        if manager.get_database_backend() == DatabaseBackend::Postgres {
            ddl::run(manager, POSTGRES_DOWN).await?;
        }
        Ok(())
    }
}
