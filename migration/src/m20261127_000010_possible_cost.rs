//! What calls that were given up may have cost.

use sea_orm_migration::prelude::*;

use crate::ddl;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const UP: &str = "
ALTER TABLE attempts ADD COLUMN possible_cost_usd_micros bigint;
CREATE INDEX attempts_possible_cost ON attempts (provider, provider_model) WHERE possible_cost_usd_micros IS NOT NULL;
";

const DOWN: &str = "
DROP INDEX attempts_possible_cost;
ALTER TABLE attempts DROP COLUMN possible_cost_usd_micros;
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
