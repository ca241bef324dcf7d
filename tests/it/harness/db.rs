//! The database, past the program: to look where the API does not show, and to plant damage.

use std::collections::{HashMap, HashSet};

use sea_orm::{ConnectionTrait, DatabaseConnection, Statement};
use uuid::Uuid;

/// A connection to the database of one cluster.
pub(crate) struct Database(DatabaseConnection);

impl Database {
    /// Opens it; it must exist.
    pub(crate) async fn open(url: &str) -> Self {
        Self(sea_orm::Database::connect(url).await.unwrap())
    }

    /// The connection itself, for what is meant to fail.
    pub(crate) fn connection(&self) -> &DatabaseConnection {
        &self.0
    }

    /// Runs one statement that writes; answers with the number of rows.
    pub(crate) async fn write(&self, sql: &str) -> u64 {
        let done = self.0.execute_unprepared(sql).await;
        done.unwrap_or_else(|error| panic!("{sql}: {error}")).rows_affected()
    }

    /// The number that a statement selects `AS n`.
    pub(crate) async fn number(&self, sql: &str) -> i64 {
        self.try_number(sql).await.unwrap_or_else(|| panic!("no number: {sql}"))
    }

    /// The same, if the database can be reached.
    pub(crate) async fn try_number(&self, sql: &str) -> Option<i64> {
        let statement = Statement::from_string(self.0.get_database_backend(), sql);
        self.0.query_one_raw(statement).await.ok()??.try_get("", "n").ok()
    }

    /// The texts that a statement selects `AS line`.
    pub(crate) async fn lines(&self, sql: &str) -> Vec<String> {
        let statement = Statement::from_string(self.0.get_database_backend(), sql);
        let rows = self.0.query_all_raw(statement).await.unwrap();
        rows.iter().map(|row| row.try_get("", "line").unwrap()).collect()
    }

    /// Which job each attempt belongs to.
    pub(crate) async fn attempts(&self) -> HashMap<Uuid, Uuid> {
        let sql = "SELECT id, job_id FROM attempts";
        let statement = Statement::from_string(self.0.get_database_backend(), sql);
        let rows = self.0.query_all_raw(statement).await.unwrap();
        rows.iter()
            .map(|row| (row.try_get("", "id").unwrap(), row.try_get("", "job_id").unwrap()))
            .collect()
    }

    /// The jobs of a user.
    pub(crate) async fn jobs_of(&self, email: &str) -> HashSet<Uuid> {
        let sql = format!(
            "SELECT j.id FROM jobs j JOIN workspaces w ON w.id = j.workspace_id \
             JOIN users u ON u.id = w.owner_id WHERE u.email = '{email}'"
        );
        let statement = Statement::from_string(self.0.get_database_backend(), sql);
        let rows = self.0.query_all_raw(statement).await.unwrap();
        rows.iter().map(|row| row.try_get("", "id").unwrap()).collect()
    }

    /// An id as a literal.
    pub(crate) fn literal(&self, id: Uuid) -> String {
        match self.0.get_database_backend() {
            sea_orm::DatabaseBackend::Sqlite => format!("X'{}'", id.simple()),
            _ => format!("'{id}'::uuid"),
        }
    }

    /// Some bytes as a literal.
    pub(crate) fn bytes(&self) -> &'static str {
        match self.0.get_database_backend() {
            sea_orm::DatabaseBackend::Sqlite => "X'07'",
            _ => "'\\x07'::bytea",
        }
    }

    /// Closes it, so that files can be copied and databases used as templates.
    pub(crate) async fn close(self) {
        self.0.close().await.unwrap();
    }
}

/// The UUID in a public id such as `job_0198…`.
pub(crate) fn uuid_of(public: &str) -> Uuid {
    let digits = public.rsplit('_').next().unwrap();
    Uuid::parse_str(digits).unwrap_or_else(|error| panic!("{public} is no id: {error}"))
}
