//! Rows and files that are put where a platform would have put them, past the platform.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use chrono::DateTime;
use sea_orm::{
    ConnectionTrait, Database, DatabaseBackend, DatabaseConnection, Statement, TransactionTrait,
};
use uuid::Uuid;

/// Rows that one statement inserts.
const ROWS: u32 = 500;
/// How many days the rows of the usage log are spread over.
const DAYS: u32 = 10;
/// How old the youngest of them are, in days: more than they are kept.
const AGE: i64 = 92;
/// A day in microseconds.
const DAY: i64 = 86_400_000_000;
/// So far in the future that nothing deletes it: a thousand years.
const LATER: i64 = 365_000 * DAY;
/// A media file's content: what it is does not matter to who deletes it.
const CONTENT: &[u8] = &[7; 1_024];

/// The database and the media folder of servers that run.
pub(crate) struct Planted {
    database: DatabaseConnection,
    media: PathBuf,
}

/// A day of the usage log.
struct Day {
    /// Its partition, where the database has partitions.
    table: String,
    /// When it began.
    micros: i64,
}

impl Planted {
    pub(crate) async fn open(url: &str, media: &Path) -> anyhow::Result<Self> {
        let database = Database::connect(url).await.context("opening the database")?;
        Ok(Self { database, media: media.to_owned() })
    }

    /// Uploads with their files, that are kept for long.
    pub(crate) async fn uploads(&self, count: u32) -> anyhow::Result<()> {
        for n in 0..=0xff {
            fs::create_dir_all(self.media.join(format!("uploads/{n:02x}")))?;
        }
        let transaction = self.database.begin().await?;
        let mut left = count;
        while left > 0 {
            let rows = left.min(ROWS);
            let values: anyhow::Result<Vec<String>> = (0..rows).map(|_| self.upload()).collect();
            let sql = format!(
                "INSERT INTO uploads (id, workspace_id, key, made_for_job, content_type, bytes, \
                 sha256, created_at, stored_at, expires_at) SELECT v.id, w.id, v.key, v.made, \
                 'image/png', {}, 'planted', 1, 1, {} FROM (SELECT id FROM workspaces ORDER BY id \
                 LIMIT 1) w CROSS JOIN ({}) v",
                CONTENT.len(),
                i64::MAX / 2,
                values?.join(" UNION ALL "),
            );
            transaction.execute_unprepared(&sql).await?;
            left -= rows;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Writes a file; the `SELECT` of its row.
    fn upload(&self) -> anyhow::Result<String> {
        let id = Uuid::new_v4();
        let digits = id.simple().to_string();
        let key = format!("uploads/{}/{digits}", &digits[30..]);
        fs::write(self.media.join(&key), CONTENT)?;
        Ok(format!("SELECT {} AS id, '{key}' AS key, false AS made", self.literal(id)))
    }

    /// People with these addresses, who are otherwise like somebody there is, password and all.
    pub(crate) async fn people_like(&self, like: &str, emails: &[String]) -> anyhow::Result<()> {
        let transaction = self.database.begin().await?;
        for email in emails {
            let (user, workspace) = (self.literal(Uuid::new_v4()), self.literal(Uuid::new_v4()));
            for sql in [
                format!(
                    "INSERT INTO users (id, email, name, created_at, email_verified_at, \
                     password_hash, role) SELECT {user}, '{email}', name, created_at, \
                     email_verified_at, password_hash, role FROM users WHERE email = '{like}'"
                ),
                format!(
                    "INSERT INTO workspaces (id, owner_id, name, dispatch_limit, dispatched, \
                     created_at) SELECT {workspace}, {user}, w.name, w.dispatch_limit, 0, \
                     w.created_at FROM workspaces w JOIN users u ON u.id = w.owner_id \
                     WHERE u.email = '{like}'"
                ),
                format!(
                    "INSERT INTO wallets (workspace_id, available, held) VALUES ({workspace}, 0, 0)"
                ),
            ] {
                let done = transaction.execute_unprepared(&sql).await?;
                anyhow::ensure!(done.rows_affected() == 1, "{like} is nobody");
            }
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Gives people a password hash that was made long ago.
    pub(crate) async fn hashed(&self, emails: &[String], hash: &str) -> anyhow::Result<()> {
        let emails: Vec<String> = emails.iter().map(|email| format!("'{email}'")).collect();
        let sql = format!(
            "UPDATE users SET password_hash = '{hash}' WHERE email IN ({})",
            emails.join(", ")
        );
        let done = self.database.execute_unprepared(&sql).await?;
        anyhow::ensure!(done.rows_affected() == emails.len() as u64, "some of them are nobody");
        Ok(())
    }

    fn literal(&self, id: Uuid) -> String {
        match self.database.get_database_backend() {
            DatabaseBackend::Sqlite => format!("X'{}'", id.simple()),
            _ => format!("'{id}'::uuid"),
        }
    }

    /// Rows of the usage log, spread over [`DAYS`] days; nothing sees them before they are due.
    pub(crate) async fn usage(&self, count: u32) -> anyhow::Result<()> {
        for (n, day) in self.days().await?.into_iter().enumerate() {
            let rows = count / DAYS + u32::from(n < (count % DAYS) as usize);
            let (table, from) = match self.database.get_database_backend() {
                DatabaseBackend::Sqlite => ("usage_log".to_owned(), day.micros + LATER),
                _ => (day.table, day.micros),
            };
            if table != "usage_log" {
                let make = format!("CREATE TABLE {table} (LIKE usage_log INCLUDING ALL)");
                self.database.execute_unprepared(&make).await?;
            }
            let sql = format!(
                "INSERT INTO {table} (at, method, route, status, browser, address, model) \
                 WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) \
                 SELECT {from} + CAST(i % 86400 AS bigint) * 1000000, 'POST', '/v1/jobs', 202, 'curl', \
                 '198.51.100.7', 'demo/sketch' FROM n"
            );
            self.database.execute_unprepared(&sql).await?;
        }
        Ok(())
    }

    /// From now on the time of everything that was planted is over.
    pub(crate) async fn are_due(&self) -> anyhow::Result<()> {
        let transaction = self.database.begin().await?;
        if self.database.get_database_backend() == DatabaseBackend::Sqlite {
            let sql = format!("UPDATE usage_log SET at = at - {LATER} WHERE at > {LATER}");
            transaction.execute_unprepared(&sql).await?;
        } else {
            for Day { table, micros } in self.days().await? {
                let until = micros + DAY;
                let sql = format!(
                    "ALTER TABLE usage_log ATTACH PARTITION {table} \
                     FOR VALUES FROM ({micros}) TO ({until})"
                );
                transaction.execute_unprepared(&sql).await?;
            }
        }
        let sql = "UPDATE uploads SET expires_at = 1 WHERE sha256 = 'planted'";
        transaction.execute_unprepared(sql).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// How many rows of the usage log and how many files are left, up to a thousand of each.
    pub(crate) async fn left(&self) -> anyhow::Result<(i64, usize)> {
        let first = self.days().await?.into_iter().map(|day| day.micros).max().unwrap_or_default();
        let some =
            |from: &str| format!("SELECT count(*) AS n FROM (SELECT 1 FROM {from} LIMIT 1000) x");
        let until = first + DAY;
        let rows = self.number(&some(&format!("usage_log WHERE at < {until}"))).await?;
        let uploads = self.number(&some("uploads WHERE sha256 = 'planted'")).await?;
        let files = if uploads == 0 { files(&self.media.join("uploads"))? } else { 1_000 };
        Ok((rows, files))
    }

    /// The days that the usage log's rows are of, by the database's clock.
    async fn days(&self) -> anyhow::Result<Vec<Day>> {
        let now = match self.database.get_database_backend() {
            DatabaseBackend::Sqlite => "SELECT unixepoch() AS n",
            _ => "SELECT CAST(extract(epoch FROM now()) AS bigint) AS n",
        };
        let today = self.number(now).await? * 1_000_000 / DAY;
        let days = (0..i64::from(DAYS)).map(|n| {
            let micros = (today - AGE - n) * DAY;
            let date = DateTime::from_timestamp_micros(micros).context("a day out of range")?;
            Ok(Day { table: format!("usage_log_{}", date.format("%Y%m%d")), micros })
        });
        days.collect()
    }

    async fn number(&self, sql: &str) -> anyhow::Result<i64> {
        let statement = Statement::from_string(self.database.get_database_backend(), sql);
        let row = self.database.query_one_raw(statement).await?.context("no row")?;
        Ok(row.try_get("", "n")?)
    }
}

/// A folder that is gone, as its last file is, holds none.
fn files(folder: &Path) -> anyhow::Result<usize> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    let mut count = 0;
    for entry in entries {
        let path = entry?.path();
        count += if path.is_dir() { files(&path)? } else { 1 };
    }
    Ok(count)
}
