//! What happened to accounts. Rows are never changed, which the database itself sees to; only the
//! person in one (address, browser, detail) can be erased, and rows whose time is over be deleted.

use sea_orm_migration::{prelude::*, sea_orm::DatabaseBackend};

use crate::ddl;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const UP: &str = "
CREATE TABLE audit_events (
    id {uuid} NOT NULL PRIMARY KEY,
    at bigint NOT NULL,
    user_id {uuid},
    actor_id {uuid},
    action text NOT NULL,
    address text,
    browser text,
    detail {json} NOT NULL
);
CREATE INDEX audit_events_user ON audit_events (user_id, id);
CREATE INDEX audit_events_at ON audit_events (at);
";

const FROZEN: &str = "id, at, user_id, actor_id, action";

const DOWN: &str = "
DROP TABLE audit_events;
";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        ddl::run(manager, UP).await?;
        let trigger = format!(
            "CREATE TRIGGER audit_events_frozen BEFORE UPDATE OF {FROZEN} ON audit_events FOR EACH ROW"
        );
        let text = match manager.get_database_backend() {
            DatabaseBackend::Postgres => format!(
                "CREATE FUNCTION audit_events_frozen() RETURNS trigger LANGUAGE plpgsql AS \
                 $$ BEGIN RAISE EXCEPTION 'what happened cannot be changed'; END $$;\n\
                 {trigger} EXECUTE FUNCTION audit_events_frozen();\n"
            ),
            _ => format!(
                "{trigger} BEGIN SELECT RAISE(ABORT, 'what happened cannot be changed'); END;\n"
            ),
        };
        ddl::run(manager, &text).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        ddl::run(manager, DOWN).await?;
        if manager.get_database_backend() == DatabaseBackend::Postgres {
            ddl::run(manager, "DROP FUNCTION audit_events_frozen();\n").await?;
        }
        Ok(())
    }
}
