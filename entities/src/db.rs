//! Connections to the database, Postgres or SQLite, and what differs between the two.
//!
//! On SQLite all writes go through one connection, so writers queue up here instead of meeting
//! "database is locked"; reads have their own connections and, thanks to the write-ahead log, do
//! not wait. Other processes (an `admin` command beside a running server) wait for the lock up to
//! [`BUSY_TIMEOUT`]. On Postgres both are the same pool.

mod scrub;
mod version;

use std::time::Duration;

use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseBackend, DatabaseConnection,
    DatabaseTransaction, DbErr, RuntimeErr, SqliteTransactionMode, SqlxError, Statement,
    TransactionOptions, TransactionTrait, Value,
};

pub use version::VersionError;

use crate::Timestamp;

/// How long a SQLite connection waits for another process's write.
pub const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a request waits for a free connection before the database counts as away.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection that was idle for so long is tested before it is used: the server may have gone
/// away and come back, and whoever got such a connection would pay for it.
const IDLE: Duration = Duration::from_millis(500);

/// How long the server waits for the next statement of a transaction before it takes the
/// transaction back: the locks of a process that is frozen hold everybody up.
const TRANSACTION_IDLE: Duration = Duration::from_secs(5);

/// The most connections for statements that write whole groups, besides the others.
const GROUP_CONNECTIONS: u32 = 6;

/// How statements that write whole groups are planned: once for each connection, and by the keys of
/// their rows. Planning one anew costs as much as running it. Its plan is made while the tables may
/// be young and small, where reading them from end to end looks cheaper than to look things up, and
/// is kept while they grow; so that is not to be had.
const BY_KEY: &[(&str, &str)] = &[
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("enable_bitmapscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
];

/// A transaction of the database, taken back when it is dropped before its commit.
pub type Transaction = DatabaseTransaction;

/// The database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Db {
    write: DatabaseConnection,
    read: DatabaseConnection,
    groups: DatabaseConnection,
    /// On SQLite: takes what was deleted out of the files.
    scrubber: Option<DatabaseConnection>,
}

impl Db {
    /// Opens `url` (`postgres://…` or `sqlite://FILE`, which is made if it is missing).
    ///
    /// # Errors
    /// When the database does not answer or the file cannot be opened.
    pub async fn connect(url: &str, max_connections: u32) -> Result<Self, DbErr> {
        if url.starts_with("sqlite:") {
            let write = Database::connect(sqlite(url, 1, BUSY_TIMEOUT)).await?;
            let most = max_connections.max(2);
            let read = Database::connect(sqlite(url, most, BUSY_TIMEOUT)).await?;
            let (groups, scrubber) = (write.clone(), Some(scrub::connection(url).await?));
            return Ok(Self { write, read, groups, scrubber });
        }
        let pool = Database::connect(postgres(url, max_connections.max(4), &[])).await?;
        let groups = Database::connect(postgres(url, GROUP_CONNECTIONS, BY_KEY)).await?;
        Ok(Self { write: pool.clone(), read: pool, groups, scrubber: None })
    }

    /// For reads that need no transaction.
    #[must_use]
    pub fn read(&self) -> &DatabaseConnection {
        &self.read
    }

    /// For single statements that write.
    #[must_use]
    pub fn write(&self) -> &DatabaseConnection {
        &self.write
    }

    /// For statements that write a whole group by the keys of its rows; see [`BY_KEY`].
    #[must_use]
    pub(crate) fn groups(&self) -> &DatabaseConnection {
        &self.groups
    }

    /// Begins a transaction that will write. On SQLite it takes the write lock at once: a lock
    /// that is taken later can fail in the middle.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn begin(&self) -> Result<DatabaseTransaction, DbErr> {
        let sqlite_transaction_mode = match self.backend() {
            DatabaseBackend::Sqlite => Some(SqliteTransactionMode::Immediate),
            _ => None,
        };
        self.write
            .begin_with_options(TransactionOptions {
                sqlite_transaction_mode,
                ..TransactionOptions::default()
            })
            .await
    }

    /// Begins a transaction that reads one snapshot.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn begin_snapshot(&self) -> Result<DatabaseTransaction, DbErr> {
        let isolation_level = match self.backend() {
            DatabaseBackend::Sqlite => None,
            _ => Some(sea_orm::IsolationLevel::RepeatableRead),
        };
        self.read
            .begin_with_options(TransactionOptions { isolation_level, ..Default::default() })
            .await
    }

    /// Which database it is.
    #[must_use]
    pub fn backend(&self) -> DatabaseBackend {
        self.write.get_database_backend()
    }

    /// Whether it answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<(), DbErr> {
        self.read.query_one_raw(Statement::from_string(self.backend(), "SELECT 1")).await?;
        Ok(())
    }

    /// Closes the connections after their last statement.
    pub async fn close(self) {
        // Nothing is left to do with a connection that does not close.
        drop(self.groups.close().await);
        if let Some(scrubber) = self.scrubber {
            drop(scrubber.close().await);
        }
        drop(self.read.close().await);
        drop(self.write.close().await);
    }
}

fn common(url: &str, max_connections: u32) -> ConnectOptions {
    let mut options = ConnectOptions::new(url);
    options
        .max_connections(max_connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_timeout(ACQUIRE_TIMEOUT)
        .sqlx_logging(false);
    options
}

fn postgres(
    url: &str,
    max_connections: u32,
    settings: &'static [(&'static str, &'static str)],
) -> ConnectOptions {
    let mut options = common(url, max_connections);
    options.map_sqlx_postgres_opts(move |postgres| {
        let patience = TRANSACTION_IDLE.as_millis().to_string();
        let patience = ("idle_in_transaction_session_timeout", patience.as_str());
        postgres.options(settings.iter().copied().chain([patience]))
    });
    // A pool must come up although the database is away: requests then answer 503.
    options.connect_lazy(true).test_before_acquire_if_idle_for(IDLE);
    options
}

fn sqlite(url: &str, max_connections: u32, patience: Duration) -> ConnectOptions {
    let mut options = common(url, max_connections);
    // A busy writer is not an outage: requests may queue for as long as the lock may be held.
    options.acquire_timeout(BUSY_TIMEOUT);
    options.idle_timeout(None).max_lifetime(None);
    options.map_sqlx_sqlite_opts(move |sqlite| {
        sqlite
            .create_if_missing(true)
            .foreign_keys(true)
            .busy_timeout(patience)
            .pragma("journal_mode", "WAL")
            // FULL: a commit survives a power cut, not only a crash of the process.
            .pragma("synchronous", "FULL")
            .pragma("temp_store", "MEMORY")
            // What is deleted is overwritten; see `scrub`.
            .pragma("secure_delete", "ON")
            .statement_cache_capacity(512)
    });
    options
}

/// Whether the database was out of reach, rather than at odds with what it was asked. What was
/// being committed may be committed all the same.
#[must_use]
pub fn is_away(error: &DbErr) -> bool {
    match sqlx_error(error) {
        None => matches!(error, DbErr::ConnectionAcquire(_)),
        Some(
            SqlxError::Io(_)
            | SqlxError::Tls(_)
            | SqlxError::PoolTimedOut
            | SqlxError::PoolClosed
            | SqlxError::BeginFailed,
        ) => true,
        // Class 57P: the server is stopping, crashed or starting. 08: no connection. 25P03: we were
        // frozen, and it did not wait for us.
        Some(error) => has_class(error, &["57P", "08", "25P03"]),
    }
}

/// Whether a statement failed in a way that leaves open what became of it: it may have reached the
/// server, and no answer of the server's says that it was refused.
pub(crate) fn was_sent(error: &DbErr) -> bool {
    match sqlx_error(error) {
        None => false,
        Some(SqlxError::PoolTimedOut | SqlxError::PoolClosed) => false,
        // Class 57P: the server was stopped while it was at it, perhaps after its commit.
        Some(error @ SqlxError::Database(_)) => has_class(error, &["57P", "08"]),
        Some(_) => true,
    }
}

/// Whether the same may succeed when it is tried again: the database was out of reach, or gave up
/// for a reason that passes. Classes 40: a deadlock; 53: no memory, disk or connection left; 55P03
/// and 57014: it took too long; 58: the machine under it failed.
#[must_use]
pub fn may_pass(error: &DbErr) -> bool {
    let passing = ["40", "53", "55P03", "57014", "58"];
    is_away(error) || sqlx_error(error).is_some_and(|error| has_class(error, &passing))
}

fn sqlx_error(error: &DbErr) -> Option<&SqlxError> {
    match error {
        DbErr::Conn(RuntimeErr::SqlxError(error))
        | DbErr::Exec(RuntimeErr::SqlxError(error))
        | DbErr::Query(RuntimeErr::SqlxError(error)) => Some(error.as_ref()),
        _ => None,
    }
}

/// SQLSTATE codes of five characters; those of SQLite are shorter.
fn has_class(error: &SqlxError, classes: &[&str]) -> bool {
    let SqlxError::Database(error) = error else { return false };
    let code = error.code().unwrap_or_default();
    code.len() == 5 && classes.iter().any(|class| code.starts_with(class))
}

/// The database's own clock, as SQL, in microseconds.
pub(crate) fn now_sql(backend: DatabaseBackend) -> &'static str {
    match backend {
        DatabaseBackend::Sqlite => "CAST(unixepoch('subsec') * 1000000 AS INTEGER)",
        _ => "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)",
    }
}

/// The end of a `SELECT` that locks what it finds; SQLite has one writer and needs none. No key
/// is ever changed, so rows that refer to what is locked can be written meanwhile.
pub(crate) fn for_update(backend: DatabaseBackend) -> &'static str {
    match backend {
        DatabaseBackend::Sqlite => "",
        _ => " FOR NO KEY UPDATE",
    }
}

/// The same, passing over rows that someone else has locked.
pub(crate) fn skip_locked(backend: DatabaseBackend) -> &'static str {
    match backend {
        DatabaseBackend::Sqlite => "",
        _ => " FOR NO KEY UPDATE SKIP LOCKED",
    }
}

/// A statement with `$1 …` placeholders, which both databases understand.
pub(crate) fn sql(
    db: &impl ConnectionTrait,
    text: impl Into<String>,
    values: impl IntoIterator<Item = Value>,
) -> Statement {
    Statement::from_sql_and_values(db.get_database_backend(), text, values)
}

/// `$from, $from+1, …`: placeholders for a list.
pub(crate) fn placeholders(from: usize, count: usize) -> String {
    (from..from + count).map(|n| format!("${n}")).collect::<Vec<_>>().join(", ")
}

/// `column` is one of `ids`, the parameters from `$from` on. An array on Postgres, so that lists of
/// every length share one prepared statement.
pub(crate) fn one_of(
    backend: DatabaseBackend,
    column: &str,
    from: usize,
    ids: impl IntoIterator<Item = uuid::Uuid>,
) -> (String, Vec<Value>) {
    let ids: Vec<uuid::Uuid> = ids.into_iter().collect();
    match backend {
        DatabaseBackend::Postgres => (format!("{column} = ANY(${from})"), vec![ids.into()]),
        _ => {
            let list = placeholders(from, ids.len());
            (format!("{column} IN ({list})"), ids.into_iter().map(Value::from).collect())
        }
    }
}

/// What the database's clock says.
///
/// # Errors
/// When the database does not answer.
pub async fn database_now(db: &impl ConnectionTrait) -> Result<Timestamp, DbErr> {
    let text = format!("SELECT {} AS now", now_sql(db.get_database_backend()));
    let row = db.query_one_raw(sql(db, text, [])).await?;
    row.ok_or_else(|| DbErr::RecordNotFound("the database's clock".into()))?.try_get("", "now")
}
