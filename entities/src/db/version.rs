//! Which server answers. An older one than was tried would fail in the middle of something; it is
//! refused before anything begins. Nothing is stored.

use sea_orm::{ConnectionTrait as _, DatabaseBackend, DbErr};

use super::{Db, sql};

/// The oldest PostgreSQL that will do, as its `server_version_num`: the major version is what
/// stands before the last four digits.
const OLDEST: i32 = 140_000;

/// Why a server is refused.
#[derive(Debug, thiserror::Error)]
pub enum VersionError {
    /// It is too old.
    #[error("the database is PostgreSQL {major}; PostgreSQL 14 or newer is needed")]
    TooOld {
        /// Its major version.
        major: i32,
    },
    /// It did not answer.
    #[error("the database did not tell its version: {0}")]
    Db(#[from] DbErr),
}

impl Db {
    /// Refuses a PostgreSQL that is too old. SQLite is part of the program.
    ///
    /// # Errors
    /// See [`VersionError`].
    pub async fn check_version(&self) -> Result<(), VersionError> {
        if self.backend() != DatabaseBackend::Postgres {
            return Ok(());
        }
        let text = "SELECT CAST(current_setting('server_version_num') AS integer) AS version";
        match self.read().query_one_raw(sql(self.read(), text, [])).await? {
            Some(row) => check(row.try_get("", "version")?),
            None => Ok(()),
        }
    }
}

fn check(version: i32) -> Result<(), VersionError> {
    if version < OLDEST { Err(VersionError::TooOld { major: version / 10_000 }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_older_servers_are_refused() {
        assert!(matches!(check(130_021), Err(VersionError::TooOld { major: 13 })));
        assert!(matches!(check(90_624), Err(VersionError::TooOld { major: 9 })));
        for fit in [140_000, 150_018, 180_001] {
            check(fit).unwrap();
        }
    }
}
