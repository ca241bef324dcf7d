//! What an API key may do: scopes, an end, a spending limit. Keys that exist may do everything.

use sea_orm_migration::prelude::*;

use crate::ddl;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const UP: &str = "
ALTER TABLE api_keys ADD COLUMN scopes text NOT NULL DEFAULT '';
UPDATE api_keys SET scopes = 'jobs:read jobs:write credits:read account';
ALTER TABLE api_keys ADD COLUMN expires_at bigint;
ALTER TABLE api_keys ADD COLUMN spend_limit bigint CHECK (spend_limit > 0);
ALTER TABLE api_keys ADD COLUMN spend_period text;
CREATE TABLE key_spending (
    key_id {uuid} NOT NULL REFERENCES api_keys (id),
    period text NOT NULL,
    spent bigint NOT NULL CHECK (spent >= 0),
    PRIMARY KEY (key_id, period)
);
";

const DOWN: &str = "
DROP TABLE key_spending;
ALTER TABLE api_keys DROP COLUMN spend_period;
ALTER TABLE api_keys DROP COLUMN spend_limit;
ALTER TABLE api_keys DROP COLUMN expires_at;
ALTER TABLE api_keys DROP COLUMN scopes;
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
