//! Writing rows of the usage log, and deleting them when their time is over.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    time::Duration,
};

use sea_orm::{ConnectionTrait, DatabaseBackend, DatabaseTransaction, DbErr, Value};
use serde_json::json;
use uuid::Uuid;

use super::days::{self, Day, REST};
use crate::{
    Db, Timestamp,
    db::sql,
    ids::{ApiKeyId, UserId, WorkspaceId},
};

/// One request to the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageRow {
    /// When it was answered.
    pub at: Timestamp,
    /// Such as `GET`.
    pub method: &'static str,
    /// The route's pattern, not the path.
    pub route: String,
    /// The HTTP status.
    pub status: u16,
    /// The type of the client's program, out of a fixed list.
    pub browser: &'static str,
    /// The client's address.
    pub address: IpAddr,
    /// The key that was used.
    pub key_id: Option<ApiKeyId>,
    /// Whose workspace it was about.
    pub workspace_id: Option<WorkspaceId>,
    /// Who it was.
    pub user_id: Option<UserId>,
    /// The model, if it was about one.
    pub model: Option<String>,
}

const COLUMNS: [&str; 10] = [
    "at",
    "method",
    "route",
    "status",
    "browser",
    "address",
    "key_id",
    "workspace_id",
    "user_id",
    "model",
];

/// Writes rows together. `known` remembers which days need no partition made any more.
///
/// # Errors
/// When the database fails; then nothing is written.
pub async fn write<S: std::hash::BuildHasher>(
    db: &Db,
    rows: &[UsageRow],
    known: &mut HashSet<i64, S>,
) -> Result<(), DbErr> {
    let postgres = db.backend() == DatabaseBackend::Postgres;
    for row in rows {
        let day = Day::of(row.at);
        if postgres
            && known.insert(day.0)
            && let Err(error) = days::make_day(db, day).await
        {
            tracing::warn!(%error, "a day of the usage log has no partition; the rest takes it");
        }
    }
    let tx = db.begin().await?;
    if postgres {
        at_once(&tx, rows).await?;
    } else {
        insert(&tx, rows).await?;
    }
    tx.commit().await
}

/// Most requests of a batch differ only in their time: what they share is sent once. Arrays hold no
/// nulls: a nil id and an empty text stand for none.
async fn at_once(tx: &DatabaseTransaction, rows: &[UsageRow]) -> Result<(), DbErr> {
    // A crash may lose the last rows; nobody need wait for the disk.
    tx.execute_unprepared("SET LOCAL synchronous_commit = off").await?;
    let text = format!(
        "INSERT INTO usage_log ({}) SELECT given.at, method, route, status, browser, address, \
         NULLIF(key_id, $12), NULLIF(workspace_id, $12), NULLIF(user_id, $12), NULLIF(model, '') \
         FROM unnest($1, $2) AS given (at, kind) JOIN unnest($3, $4, $5, $6, $7, $8, $9, $10, $11) \
         WITH ORDINALITY AS shared (method, route, status, browser, address, key_id, workspace_id, \
         user_id, model, kind) ON shared.kind = given.kind",
        COLUMNS.join(", "),
    );
    let (mut kinds, mut numbers, mut kind_of) = (Vec::new(), HashMap::new(), Vec::new());
    for row in rows {
        let kind = *numbers.entry(Kind::of(row)).or_insert_with(|| {
            kinds.push(Kind::of(row));
            kinds.len() as i64
        });
        kind_of.push(kind);
    }
    let texts =
        |of: fn(&Kind) -> String| -> Value { kinds.iter().map(of).collect::<Vec<_>>().into() };
    let ids = |of: fn(&Kind) -> Option<Uuid>| -> Value {
        kinds.iter().map(|kind| of(kind).unwrap_or_default()).collect::<Vec<_>>().into()
    };
    let values: [Value; 12] = [
        rows.iter().map(|row| row.at.0).collect::<Vec<_>>().into(),
        kind_of.into(),
        texts(|kind| kind.method.to_owned()),
        texts(|kind| kind.route.to_owned()),
        kinds.iter().map(|kind| i32::from(kind.status)).collect::<Vec<_>>().into(),
        texts(|kind| kind.browser.to_owned()),
        texts(|kind| kind.address.to_string()),
        ids(|kind| kind.key_id.map(|id| id.0)),
        ids(|kind| kind.workspace_id.map(|id| id.0)),
        ids(|kind| kind.user_id.map(|id| id.0)),
        texts(|kind| kind.model.unwrap_or_default().to_owned()),
        Uuid::nil().into(),
    ];
    tx.execute_raw(sql(tx, text, values)).await?;
    Ok(())
}

/// All of a row but its time.
#[derive(PartialEq, Eq, Hash)]
struct Kind<'a> {
    method: &'static str,
    route: &'a str,
    status: u16,
    browser: &'static str,
    address: IpAddr,
    key_id: Option<ApiKeyId>,
    workspace_id: Option<WorkspaceId>,
    user_id: Option<UserId>,
    model: Option<&'a str>,
}

impl<'a> Kind<'a> {
    fn of(row: &'a UsageRow) -> Self {
        let UsageRow { at: _, method, route, status, browser, address, .. } = row;
        Self {
            method,
            route,
            status: *status,
            browser,
            address: *address,
            key_id: row.key_id,
            workspace_id: row.workspace_id,
            user_id: row.user_id,
            model: row.model.as_deref(),
        }
    }
}

/// One parameter for all rows: with one for each value, SQLite would look through all of them for
/// each of them, and hold up everybody else's writes for 150 ms.
async fn insert(tx: &DatabaseTransaction, rows: &[UsageRow]) -> Result<(), DbErr> {
    let text = format!(
        "INSERT INTO usage_log ({}) SELECT row.value ->> 0, row.value ->> 1, row.value ->> 2, \
         row.value ->> 3, row.value ->> 4, row.value ->> 5, unhex(row.value ->> 6), \
         unhex(row.value ->> 7), unhex(row.value ->> 8), row.value ->> 9 FROM json_each($1) AS row",
        COLUMNS.join(", "),
    );
    let hex = |id: Option<Uuid>| id.map(|id| id.simple().to_string());
    let rows: Vec<serde_json::Value> = rows
        .iter()
        .map(|row| {
            json!([
                row.at.0,
                row.method,
                row.route,
                row.status,
                row.browser,
                row.address,
                hex(row.key_id.map(|id| id.0)),
                hex(row.workspace_id.map(|id| id.0)),
                hex(row.user_id.map(|id| id.0)),
                row.model,
            ])
        })
        .collect();
    let rows = serde_json::Value::Array(rows).to_string();
    tx.execute_raw(sql(tx, text, [rows.into()])).await?;
    Ok(())
}

/// Deletes rows that are kept no longer than `kept`: whole days, so that a row is kept for up to a
/// day less and never longer. At most `batch` rows are deleted one by one; whole partitions are
/// dropped. Answers with how many rows are gone.
///
/// # Errors
/// When the database fails.
pub async fn expire(db: &Db, kept: Duration, batch: u64, now: Timestamp) -> Result<u64, DbErr> {
    let end = Day::of(now.before(kept)).next();
    let (dropped, table, place) = match db.backend() {
        DatabaseBackend::Postgres => (days::drop_days(db, end).await?, REST, "ctid"),
        _ => (0, "usage_log", "rowid"),
    };
    let text = format!(
        "DELETE FROM {table} WHERE {place} IN \
         (SELECT {place} FROM {table} WHERE at < $1 LIMIT $2)"
    );
    let batch = i64::try_from(batch).unwrap_or(i64::MAX);
    let values = [end.start().0.into(), batch.into()];
    let deleted = db.write().execute_raw(sql(db.write(), text, values)).await?;
    Ok(dropped + deleted.rows_affected())
}
