//! The health of routes to providers, and what operators switched off.

use sea_orm_migration::prelude::*;

use crate::ddl;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const UP: &str = "
CREATE TABLE breakers (
    provider text NOT NULL,
    model text NOT NULL,
    window_from bigint NOT NULL,
    calls bigint NOT NULL,
    failures bigint NOT NULL,
    failed_row bigint NOT NULL,
    cause text,
    opened_at bigint,
    opens bigint NOT NULL,
    retry_at bigint,
    probed_at bigint,
    throttled_until bigint,
    trouble text,
    trouble_at bigint,
    PRIMARY KEY (provider, model)
);
CREATE TABLE switches (
    provider text NOT NULL,
    model text NOT NULL,
    reason text NOT NULL,
    off_at bigint NOT NULL,
    PRIMARY KEY (provider, model)
);
";

const DOWN: &str = "
DROP TABLE switches;
DROP TABLE breakers;
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
