//! Less to do for each submit: the index of live jobs is without the queued ones, which have indexes
//! of their own.

use sea_orm_migration::prelude::*;

use crate::ddl;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const UP: &str = "
DROP INDEX jobs_live;
CREATE INDEX jobs_live ON jobs (pool, state)
    WHERE state IN ('submitting', 'uncertain', 'running', 'storing');
";

const DOWN: &str = "
DROP INDEX jobs_live;
CREATE INDEX jobs_live ON jobs (pool, state) WHERE finished_at IS NULL;
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
