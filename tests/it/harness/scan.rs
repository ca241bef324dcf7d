//! Looking for words everywhere that the platform keeps anything: every table as text, every key of
//! Redis, every file of the data folder (media, mails, the demo provider's record, the pages and the
//! log of an SQLite database, and what is inside of zips), and what all processes wrote.

use std::{fs, io::Read as _, path::Path};

use sea_orm::{ConnectionTrait, DatabaseBackend, Statement};

use super::{Backend, Cluster, Database};

/// Where a word was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trace {
    pub(crate) word: String,
    pub(crate) place: String,
}

impl Cluster {
    /// Where any of the words is, upper or lower case, as it is, in hexadecimal or in base64 at any
    /// offset. The platform may run meanwhile.
    pub(crate) async fn traces(&self, words: &[&str]) -> Vec<Trace> {
        let needles: Vec<(String, Vec<Vec<u8>>)> =
            words.iter().map(|word| ((*word).to_owned(), spellings(word))).collect();
        let mut traces = Vec::new();
        let mut look = |place: &str, bytes: &[u8]| {
            let lower = bytes.to_ascii_lowercase();
            for (word, spellings) in &needles {
                let found = spellings.iter().any(|spelling| contains(&lower, spelling));
                if found && !traces.iter().any(|t: &Trace| t.word == *word && t.place == place) {
                    traces.push(Trace { word: word.clone(), place: place.to_owned() });
                }
            }
        };
        let database = self.database().await;
        for (table, text) in database.dump().await {
            look(&format!("table {table}"), text.as_bytes());
        }
        database.close().await;
        for (key, value) in self.redis_dump().await {
            look(&format!("redis {key}"), value.as_bytes());
        }
        for file in files(&self.folder()) {
            let Ok(bytes) = fs::read(&file) else { continue };
            let place = file.strip_prefix(self.folder()).unwrap().display().to_string();
            look(&place, &bytes);
            if bytes.starts_with(b"PK\x03\x04") {
                for (entry, bytes) in unzip(&bytes) {
                    look(&format!("{place}/{entry}"), &bytes);
                }
            }
        }
        traces
    }

    /// Checks that none of the words is anywhere.
    pub(crate) async fn nowhere(&self, words: &[&str]) {
        let traces = self.traces(words).await;
        assert!(traces.is_empty(), "{traces:#?}");
    }

    async fn redis_dump(&self) -> Vec<(String, String)> {
        let Some((url, prefix)) = self.redis_place() else { return Vec::new() };
        assert_eq!(self.backend, Backend::Distributed);
        let client = redis::Client::open(url).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let keys: Vec<String> = redis::cmd("KEYS")
            .arg(format!("{prefix}*"))
            .query_async(&mut connection)
            .await
            .unwrap();
        let mut all = Vec::new();
        for key in keys {
            let kind: String =
                redis::cmd("TYPE").arg(&key).query_async(&mut connection).await.unwrap();
            let command: &[&str] = match kind.as_str() {
                "string" => &["GET"],
                "hash" => &["HGETALL"],
                "list" => &["LRANGE", "0", "-1"],
                "set" => &["SMEMBERS"],
                "zset" => &["ZRANGE", "0", "-1"],
                "stream" => &["XRANGE", "-", "+"],
                _ => continue,
            };
            let mut ask = redis::cmd(command[0]);
            ask.arg(&key);
            for part in &command[1..] {
                ask.arg(part);
            }
            let value: redis::Value = ask.query_async(&mut connection).await.unwrap();
            all.push((key, format!("{value:?}")));
        }
        all
    }
}

impl Database {
    /// Every column of every table as text, blobs in hexadecimal.
    pub(crate) async fn dump(&self) -> Vec<(String, String)> {
        let connection = self.connection();
        let backend = connection.get_database_backend();
        let tables = match backend {
            DatabaseBackend::Sqlite => {
                "SELECT t.name AS tab, c.name AS col FROM sqlite_master t, pragma_table_info(t.name) c \
                 WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%'"
            }
            _ => {
                "SELECT c.relname::text AS tab, a.attname::text AS col FROM pg_class c \
                 JOIN pg_attribute a ON a.attrelid = c.oid \
                 WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p') \
                   AND NOT c.relispartition AND a.attnum > 0 AND NOT a.attisdropped"
            }
        };
        let rows = connection.query_all_raw(Statement::from_string(backend, tables)).await.unwrap();
        let mut all = Vec::new();
        for row in rows {
            let table: String = row.try_get("", "tab").unwrap();
            let column: String = row.try_get("", "col").unwrap();
            let text = match backend {
                DatabaseBackend::Sqlite => format!(
                    "SELECT coalesce(group_concat(CASE typeof(\"{column}\") WHEN 'blob' \
                     THEN hex(\"{column}\") ELSE \"{column}\" END, char(10)), '') AS line \
                     FROM \"{table}\""
                ),
                _ => format!(
                    "SELECT coalesce(string_agg(\"{column}\"::text, chr(10)), '') AS line \
                     FROM \"{table}\""
                ),
            };
            let lines = self.lines(&text).await.concat();
            all.push((format!("{table}.{column}"), lines));
        }
        all
    }
}

/// A word as it may be written.
fn spellings(word: &str) -> Vec<Vec<u8>> {
    use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
    let plain = word.to_ascii_lowercase();
    let mut all = vec![plain.clone().into_bytes(), hex::encode(word).into_bytes()];
    // The first and last letters of a part depend on its neighbours.
    for skip in 0..3_usize {
        let padded = [vec![b' '; skip], word.as_bytes().to_vec()].concat();
        let text = STANDARD_NO_PAD.encode(padded).to_ascii_lowercase();
        let from = if skip == 0 { 0 } else { skip + 1 };
        let part = &text[from.min(text.len())..text.len().saturating_sub(2)];
        if part.len() >= 8 {
            all.push(part.as_bytes().to_vec());
        }
    }
    // As a mail or a link writes it.
    let encoded: String = url::form_urlencoded::byte_serialize(plain.as_bytes()).collect();
    all.push(encoded.to_ascii_lowercase().into_bytes());
    all
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    !word.is_empty() && text.windows(word.len()).any(|window| window == word)
}

/// Every file below a folder. What goes while it is looked through is left out.
pub(crate) fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.flatten().map(|entry| entry.path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// What is in a zip: names and bytes.
pub(crate) fn unzip(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(bytes)).unwrap();
    (0..archive.len())
        .map(|n| {
            let mut entry = archive.by_index(n).unwrap();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            (entry.name().unwrap().into_owned(), bytes)
        })
        .collect()
}
