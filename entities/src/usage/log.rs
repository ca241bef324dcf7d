//! Writing rows of the usage log, and deleting them when their time is over.

use std::{collections::HashSet, fmt::Write as _, net::IpAddr, time::Duration};

use sea_orm::{
    ConnectionTrait, DatabaseBackend, DatabaseTransaction, DbErr, RuntimeErr, SqlxError, sqlx,
};
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
    if postgres {
        return copy(db, rows)
            .await
            .map_err(|error| DbErr::Exec(RuntimeErr::SqlxError(error.into())));
    }
    let tx = db.begin().await?;
    insert(&tx, rows).await?;
    tx.commit().await
}

/// Sent as a copy: PostgreSQL takes it in page by page, with a fifth less work and log than rows of an
/// `INSERT` make. A workspace's rows are sent together, so they lie together, in their index, too.
async fn copy(db: &Db, rows: &[UsageRow]) -> Result<(), SqlxError> {
    let mut sorted: Vec<&UsageRow> = rows.iter().collect();
    sorted.sort_by_key(|row| (row.workspace_id, row.at));
    let mut lines = String::with_capacity(rows.len() * 256);
    for row in sorted {
        line(&mut lines, row);
    }
    let mut tx = db.write().get_postgres_connection_pool().begin().await?;
    // A crash may lose the last rows; nobody need wait for the disk.
    sqlx::query("SET LOCAL synchronous_commit = off").execute(&mut *tx).await?;
    let text = format!("COPY usage_log ({}) FROM STDIN", COLUMNS.join(", "));
    let mut copy = tx.copy_in_raw(&text).await?;
    copy.send(lines.as_bytes()).await?;
    copy.finish().await?;
    tx.commit().await
}

/// One row in the text format of PostgreSQL's `COPY`.
fn line(lines: &mut String, row: &UsageRow) {
    let UsageRow { at, method, route, status, browser, address, .. } = row;
    // Writing to a string cannot fail.
    let _ = write!(lines, "{}\t", at.0);
    field(lines, method);
    field(lines, route);
    let _ = write!(lines, "{status}\t");
    field(lines, browser);
    let _ = write!(lines, "{address}\t");
    let ids =
        [row.key_id.map(|id| id.0), row.workspace_id.map(|id| id.0), row.user_id.map(|id| id.0)];
    for id in ids {
        let _ = match id {
            Some(id) => write!(lines, "{id}\t"),
            None => write!(lines, "{NULL}\t"),
        };
    }
    match &row.model {
        Some(model) => field(lines, model),
        None => {
            lines.push_str(NULL);
            lines.push('\t');
        }
    }
    // In place of the last tab.
    lines.pop();
    lines.push('\n');
}

/// No value, in the text format.
const NULL: &str = "\\N";

fn field(lines: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '\\' => lines.push_str("\\\\"),
            '\t' => lines.push_str("\\t"),
            '\n' => lines.push_str("\\n"),
            '\r' => lines.push_str("\\r"),
            c => lines.push(c),
        }
    }
    lines.push('\t');
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_one_line_whatever_its_texts_hold() {
        let mut row = UsageRow {
            at: Timestamp(7),
            method: "POST",
            route: "/v1/a\tb\\N\r\n".to_owned(),
            status: 202,
            browser: "none",
            address: "2001:db8::1".parse().unwrap(),
            key_id: None,
            workspace_id: Some(WorkspaceId(Uuid::from_u128(1))),
            user_id: None,
            model: None,
        };
        let mut lines = String::new();
        line(&mut lines, &row);
        row.route = "/v1/jobs".to_owned();
        row.model = Some("demo/sketch".to_owned());
        line(&mut lines, &row);
        let id = "00000000-0000-0000-0000-000000000001";
        let address = "2001:db8::1";
        let expected = [
            format!("7\tPOST\t/v1/a\\tb\\\\N\\r\\n\t202\tnone\t{address}\t\\N\t{id}\t\\N\t\\N\n"),
            format!("7\tPOST\t/v1/jobs\t202\tnone\t{address}\t\\N\t{id}\t\\N\tdemo/sketch\n"),
        ];
        assert_eq!(lines, expected.concat());
    }
}
