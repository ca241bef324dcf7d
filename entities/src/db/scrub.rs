//! Taking what was deleted out of the files of an SQLite database.
//!
//! A row that is deleted is overwritten in its page (`secure_delete`), but two copies of the page
//! are left: the older one in the main file, until the write-ahead log is copied into it, and those
//! in the log, which is otherwise written over from its beginning, never emptied. [`Db::scrub`]
//! copies and empties it. Postgres clears its own pages when it vacuums.

use std::time::Duration;

use sea_orm::{ConnectionTrait, Database, DatabaseConnection, DbErr, Statement};

use super::Db;

/// How long writers may have to wait because a reader still needs the log.
const PATIENCE: Duration = Duration::from_millis(100);

/// A connection of its own, opened when it is first used: it gives up sooner than the others.
pub(super) async fn connection(url: &str) -> Result<DatabaseConnection, DbErr> {
    let mut options = super::sqlite(url, 1, PATIENCE);
    options.connect_lazy(true);
    Database::connect(options).await
}

impl Db {
    /// Makes sure that what was deleted so far is in no file of the database. `false`: a reader
    /// needs the log at the moment; come again.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn scrub(&self) -> Result<bool, DbErr> {
        let Some(db) = &self.scrubber else { return Ok(true) };
        // The first copies while others write; so the second, which they wait for, has little left.
        checkpoint(db, "PASSIVE").await?;
        checkpoint(db, "TRUNCATE").await
    }
}

async fn checkpoint(db: &DatabaseConnection, mode: &str) -> Result<bool, DbErr> {
    let text = format!("PRAGMA wal_checkpoint({mode})");
    let row = db.query_one_raw(Statement::from_string(db.get_database_backend(), text)).await?;
    let busy: Option<i64> = row.map(|row| row.try_get_by_index(0)).transpose()?;
    Ok(busy == Some(0))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Whether any of the database's files holds the word.
    fn holds(folder: &Path, word: &str) -> bool {
        std::fs::read_dir(folder).unwrap().any(|entry| {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            bytes.windows(word.len()).any(|window| window == word.as_bytes())
        })
    }

    #[tokio::test]
    async fn what_is_deleted_is_in_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/test.db", folder.path().display());
        let db = Db::connect(&url, 2).await.unwrap();
        let write = async |text: &str| db.write().execute_unprepared(text).await.unwrap();
        write("CREATE TABLE words (id integer PRIMARY KEY, word text NOT NULL UNIQUE)").await;
        let many = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500) \
                    INSERT INTO words SELECT i, 'axolotl' || i || hex(zeroblob(i * 3)) FROM n";
        write(many).await;
        assert!(db.scrub().await.unwrap());
        assert!(holds(folder.path(), "axolotl499"), "it was written");
        write("DELETE FROM words WHERE id % 2 = 1").await;
        write("UPDATE words SET word = 'nothing' || id").await;
        assert!(holds(folder.path(), "axolotl499"), "the main file still has the page");
        assert!(db.scrub().await.unwrap());
        assert!(!holds(folder.path(), "axolotl"));
        db.close().await;
    }

    #[tokio::test]
    async fn a_reader_is_not_waited_for_for_long() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/test.db", folder.path().display());
        let db = Db::connect(&url, 2).await.unwrap();
        let write = async |text: &str| db.write().execute_unprepared(text).await.unwrap();
        write("CREATE TABLE words (word text)").await;
        let reader = db.begin_snapshot().await.unwrap();
        let count = Statement::from_string(db.backend(), "SELECT count(*) FROM words");
        reader.query_one_raw(count).await.unwrap();
        write("INSERT INTO words VALUES ('axolotl')").await;
        assert!(!db.scrub().await.unwrap(), "the reader sees what was before");
        reader.rollback().await.unwrap();
        assert!(db.scrub().await.unwrap());
        db.close().await;
    }
}
