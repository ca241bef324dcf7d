//! When a job's content was erased, by its user or because its time was over.

use sea_orm_migration::prelude::*;

use crate::ddl;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const UP: &str = "
ALTER TABLE jobs ADD COLUMN erased_at bigint;
UPDATE jobs SET erased_at = deleted_at WHERE deleted_at IS NOT NULL;
CREATE INDEX jobs_expiring ON jobs (expires_at) WHERE erased_at IS NULL;
";

const DOWN: &str = "
DROP INDEX jobs_expiring;
ALTER TABLE jobs DROP COLUMN erased_at;
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
