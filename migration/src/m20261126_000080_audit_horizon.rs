//! The audit log is only ever added to, which the database itself sees to. A row may be emptied of the
//! person in it once their account is erased, and deleted once it is older than the horizon, which the
//! retention alone moves. Everything else is refused.

use sea_orm_migration::{prelude::*, sea_orm::DatabaseBackend};

use crate::ddl;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const HORIZON: &str = "
CREATE TABLE audit_horizon (
    id integer NOT NULL PRIMARY KEY CHECK (id = 1),
    kept_from bigint NOT NULL
);
INSERT INTO audit_horizon (id, kept_from) VALUES (1, 0);
";

const REFUSAL: &str = "what happened cannot be changed";

/// What stays of a row that is emptied.
const FROZEN: [&str; 5] = ["id", "at", "user_id", "actor_id", "action"];

/// Whether an update takes the person out of a row, and nothing else, and their account is erased.
fn empties(same: &str) -> String {
    let frozen: Vec<String> =
        FROZEN.iter().map(|name| format!("NEW.{name} {same} OLD.{name}")).collect();
    format!(
        "{} AND NEW.address IS NULL AND NEW.browser IS NULL AND NEW.detail = '{{}}' AND EXISTS \
         (SELECT 1 FROM users u WHERE u.erased_at IS NOT NULL AND u.id IN (OLD.user_id, OLD.actor_id))",
        frozen.join(" AND ")
    )
}

const IS_OLD: &str = "OLD.at < (SELECT kept_from FROM audit_horizon)";

fn postgres() -> String {
    format!(
        "DROP TRIGGER audit_events_frozen ON audit_events;\n\
         CREATE OR REPLACE FUNCTION audit_events_frozen() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         IF TG_OP = 'UPDATE' THEN IF {} THEN RETURN NEW; END IF; END IF; \
         IF TG_OP = 'DELETE' THEN IF {IS_OLD} THEN RETURN OLD; END IF; END IF; \
         RAISE EXCEPTION '{REFUSAL}'; END $$;\n\
         CREATE TRIGGER audit_events_frozen BEFORE UPDATE OR DELETE ON audit_events \
         FOR EACH ROW EXECUTE FUNCTION audit_events_frozen();\n\
         CREATE TRIGGER audit_events_whole BEFORE TRUNCATE ON audit_events \
         FOR EACH STATEMENT EXECUTE FUNCTION audit_events_frozen();\n",
        empties("IS NOT DISTINCT FROM")
    )
}

/// A row that replaces another one fires no trigger of a delete here, so that is refused by itself.
fn sqlite() -> String {
    let refuse = |name: &str, event: &str, when: &str| {
        format!(
            "CREATE TRIGGER {name} BEFORE {event} ON audit_events FOR EACH ROW WHEN {when} \
             BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END;\n"
        )
    };
    let update = format!("NOT ({})", empties("IS"));
    let delete = format!("NOT coalesce({IS_OLD}, 0)");
    let replace = "EXISTS (SELECT 1 FROM audit_events e WHERE e.id = NEW.id)";
    [
        "DROP TRIGGER audit_events_frozen;\n".to_owned(),
        refuse("audit_events_frozen", "UPDATE", &update),
        refuse("audit_events_kept", "DELETE", &delete),
        refuse("audit_events_once", "INSERT", replace),
    ]
    .concat()
}

const DOWN_POSTGRES: &str = "
DROP TRIGGER audit_events_whole ON audit_events;
DROP TRIGGER audit_events_frozen ON audit_events;
CREATE OR REPLACE FUNCTION audit_events_frozen() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'what happened cannot be changed'; END $$;
CREATE TRIGGER audit_events_frozen BEFORE UPDATE OF id, at, user_id, actor_id, action ON audit_events FOR EACH ROW EXECUTE FUNCTION audit_events_frozen();
DROP TABLE audit_horizon;
";

const DOWN_SQLITE: &str = "
DROP TRIGGER audit_events_once;
DROP TRIGGER audit_events_kept;
DROP TRIGGER audit_events_frozen;
CREATE TRIGGER audit_events_frozen BEFORE UPDATE OF id, at, user_id, actor_id, action ON audit_events FOR EACH ROW BEGIN SELECT RAISE(ABORT, 'what happened cannot be changed'); END;
DROP TABLE audit_horizon;
";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        ddl::run(manager, HORIZON).await?;
        let triggers = match manager.get_database_backend() {
            DatabaseBackend::Postgres => postgres(),
            _ => sqlite(),
        };
        ddl::run(manager, &triggers).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let text = match manager.get_database_backend() {
            DatabaseBackend::Postgres => DOWN_POSTGRES,
            _ => DOWN_SQLITE,
        };
        ddl::run(manager, text).await
    }
}
