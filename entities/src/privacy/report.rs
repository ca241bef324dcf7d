//! The inventory and the promises, held against a live database.
//!
//! The columns are read from the schema itself; the oldest row against each promise is looked up. A
//! promise (`promises`) is broken when something is older than it may be, by more than the time that
//! the periodic tasks get to come round.

use std::{collections::BTreeSet, time::Duration};

use sea_orm::{ConnectionTrait, DatabaseBackend, DbErr};
use serde::Serialize;

use super::{
    inventory::{Data, Kept, inventory},
    promises::{Looked, looks},
};
use crate::{Db, Timestamp, db::sql};

/// What is late by less than this is about to be deleted: tasks work in small batches.
const GRACE: Duration = Duration::from_secs(60 * 60);

/// How long things are kept, from the settings.
#[derive(Debug, Clone, Copy)]
pub struct Spans {
    /// A job's input and files.
    pub content: Duration,
    /// The log of requests.
    pub usage_log: Duration,
    /// A finished export.
    pub exports: Duration,
    /// The audit log.
    pub audit: Duration,
    /// A session that nobody uses.
    pub session_idle: Duration,
    /// What tells of a file that is lost.
    pub lost: Duration,
}

/// Something that is promised, and how it stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Promise {
    /// What.
    pub what: &'static str,
    /// How old anything of it may be.
    pub limit_seconds: u64,
    /// How old the oldest is; null when there is nothing.
    pub oldest_seconds: Option<u64>,
    /// Whether it is kept.
    pub ok: bool,
}

impl Promise {
    fn new(what: &'static str, limit: Duration, age: Option<Duration>) -> Self {
        Self {
            what,
            limit_seconds: limit.as_secs(),
            oldest_seconds: age.map(|age| age.as_secs()),
            ok: age.is_none_or(|age| age <= limit + GRACE),
        }
    }
}

/// A column with personal data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PersonalColumn {
    /// The table.
    pub table: &'static str,
    /// The column.
    pub column: &'static str,
    /// What it is needed for.
    pub purpose: &'static str,
    /// How long it is kept, in words.
    pub kept: String,
    /// What erases it.
    pub erased: &'static str,
}

/// What is found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Whether every promise is kept and every column is accounted for.
    pub ok: bool,
    /// Every column with personal data.
    pub personal: Vec<PersonalColumn>,
    /// Columns of the database, as `table.column`, that nobody has accounted for.
    pub unknown: Vec<String>,
    /// Columns that are accounted for and that the database does not have.
    pub missing: Vec<String>,
    /// The promises.
    pub promises: Vec<Promise>,
    /// Files that rows tell of and that the media store did not have when it was looked through.
    pub lost_files: u64,
}

impl Report {
    /// Adds a promise about something that is not in the database: how old it may be, and how old the
    /// oldest is.
    pub fn add(&mut self, what: &'static str, limit: Duration, age: Option<Duration>) {
        let promise = Promise::new(what, limit, age);
        self.ok &= promise.ok;
        self.promises.push(promise);
    }
}

/// Looks.
///
/// # Errors
/// When the database fails.
pub async fn report(db: &Db, spans: Spans, now: Timestamp) -> Result<Report, DbErr> {
    let live = live_columns(db.read()).await?;
    let declared: BTreeSet<String> = inventory()
        .flat_map(|table| {
            table.columns.iter().map(move |column| format!("{}.{}", table.name, column.name))
        })
        .collect();
    let unknown: Vec<String> = live.difference(&declared).cloned().collect();
    let missing: Vec<String> = declared.difference(&live).cloned().collect();
    let mut promises = Vec::new();
    for Looked { what, limit, oldest } in looks(spans) {
        let row = db.read().query_one_raw(sql(db.read(), oldest, [])).await?;
        let oldest: Option<i64> = row.map(|row| row.try_get("", "oldest")).transpose()?.flatten();
        let age = oldest.map(|oldest| now.since(Timestamp(oldest)));
        promises.push(Promise::new(what, limit, age));
    }
    let row = db.read().query_one_raw(sql(db.read(), "SELECT count(*) AS n FROM lost_files", []));
    let lost: i64 = row.await?.map(|row| row.try_get("", "n")).transpose()?.unwrap_or(0);
    let kept = promises.iter().all(|promise| promise.ok);
    Ok(Report {
        ok: unknown.is_empty() && missing.is_empty() && kept,
        personal: personal(spans),
        unknown,
        missing,
        promises,
        lost_files: u64::try_from(lost).unwrap_or(0),
    })
}

fn personal(spans: Spans) -> Vec<PersonalColumn> {
    let of_table = |table: &'static super::Table| {
        table.columns.iter().filter_map(move |column| match column.data {
            Data::Plain => None,
            Data::Personal { purpose, kept, erased } => Some(PersonalColumn {
                table: table.name,
                column: column.name,
                purpose,
                kept: in_words(kept, spans),
                erased,
            }),
        })
    };
    inventory().flat_map(of_table).collect()
}

fn in_words(kept: Kept, spans: Spans) -> String {
    let days = |span: Duration| format!("{} days", span.as_secs() / 86_400);
    match kept {
        Kept::Content => format!("{}, or sooner by `expires_in`", days(spans.content)),
        Kept::Exports => days(spans.exports),
        Kept::Account => "as long as the account".to_owned(),
        Kept::Week => "7 days".to_owned(),
        Kept::Short => "until it is used, or its time is over".to_owned(),
        Kept::Session => "until the session ends".to_owned(),
        Kept::UsageLog => days(spans.usage_log),
        Kept::Audit => days(spans.audit),
        Kept::WhileGrants => "as long as new accounts get free credits".to_owned(),
    }
}

/// Every column as `table.column`. A partition is its table.
async fn live_columns(db: &impl ConnectionTrait) -> Result<BTreeSet<String>, DbErr> {
    let text = match db.get_database_backend() {
        DatabaseBackend::Sqlite => {
            "SELECT t.name || '.' || c.name AS name FROM sqlite_master t, pragma_table_info(t.name) c \
             WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%'"
        }
        _ => {
            "SELECT c.relname || '.' || a.attname AS name FROM pg_class c \
             JOIN pg_attribute a ON a.attrelid = c.oid \
             WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p') \
               AND NOT c.relispartition AND a.attnum > 0 AND NOT a.attisdropped"
        }
    };
    let rows = db.query_all_raw(sql(db, text, [])).await?;
    rows.iter().map(|row| row.try_get("", "name")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPANS: Spans = Spans {
        content: Duration::from_secs(30 * 86_400),
        usage_log: Duration::from_secs(90 * 86_400),
        exports: Duration::from_secs(7 * 86_400),
        audit: Duration::from_secs(365 * 86_400),
        session_idle: Duration::from_secs(14 * 86_400),
        lost: Duration::from_secs(7 * 86_400),
    };

    #[tokio::test]
    async fn every_column_is_accounted_for() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/test.db", folder.path().display());
        let db = Db::connect(&url, 2).await.unwrap();
        migration::up(db.write()).await.unwrap();
        let now = Timestamp(1_760_000_000_000_000);
        let found = report(&db, SPANS, now).await.unwrap();
        assert_eq!(found.unknown, Vec::<String>::new(), "say in `inventory` what these hold");
        assert_eq!(found.missing, Vec::<String>::new(), "these are gone");
        assert!(found.ok, "{found:?}");
        let add = "ALTER TABLE users ADD COLUMN shoe_size integer";
        db.write().execute_unprepared(add).await.unwrap();
        let found = report(&db, SPANS, now).await.unwrap();
        assert_eq!(found.unknown, ["users.shoe_size"]);
        assert!(!found.ok);
    }

    #[test]
    fn tables_and_columns_are_there_once() {
        for table in inventory() {
            assert_eq!(inventory().filter(|other| other.name == table.name).count(), 1);
            for column in table.columns {
                let same = table.columns.iter().filter(|other| other.name == column.name);
                assert_eq!(same.count(), 1, "{}.{}", table.name, column.name);
            }
        }
    }
}
