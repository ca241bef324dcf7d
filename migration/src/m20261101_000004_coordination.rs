//! What processes tell each other: who leads, and which pools are served.

use sea_orm_migration::prelude::*;

use crate::ddl;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const UP: &str = "
CREATE TABLE leader_leases (
    name text NOT NULL PRIMARY KEY,
    holder {uuid} NOT NULL,
    epoch bigint NOT NULL,
    lease_until bigint NOT NULL
);
CREATE TABLE worker_pools (
    process_id {uuid} NOT NULL,
    pool text NOT NULL,
    capacity integer NOT NULL,
    seen_at bigint NOT NULL,
    PRIMARY KEY (process_id, pool)
);
";

const DOWN: &str = "
DROP TABLE worker_pools;
DROP TABLE leader_leases;
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
