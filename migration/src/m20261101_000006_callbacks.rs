//! What providers report, stored as it came until a worker has judged it.

use sea_orm_migration::prelude::*;

use crate::ddl;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const UP: &str = "
CREATE TABLE callbacks (
    id {uuid} NOT NULL PRIMARY KEY,
    attempt_id {uuid} NOT NULL REFERENCES attempts (id),
    provider text NOT NULL,
    received_at bigint NOT NULL,
    headers {json} NOT NULL,
    body {bytes} NOT NULL,
    processed_at bigint,
    verdict text
);
CREATE INDEX callbacks_attempt ON callbacks (attempt_id);
CREATE INDEX callbacks_waiting ON callbacks (provider, id) WHERE processed_at IS NULL;
";

const DOWN: &str = "
DROP TABLE callbacks;
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
