//! Addresses in settings: of the database, of Redis, and the ones that links begin with.
//!
//! The first two may hold a password: they are shown masked, and only `expose` tells everything.

use std::{fmt, path::Path, str::FromStr};

use secrecy::{ExposeSecret, SecretString};
use serde::{Serialize, Serializer};
use url::Url;

/// Which database a URL leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatabaseKind {
    /// A server that several processes share.
    Postgres,
    /// A file on this machine.
    Sqlite,
}

/// Where the database is.
#[derive(Clone)]
pub struct DatabaseUrl {
    full: SecretString,
    kind: DatabaseKind,
}

impl DatabaseUrl {
    /// The SQLite file `path`, made if it is missing.
    ///
    /// # Errors
    /// When the path is not UTF-8.
    pub fn sqlite(path: &Path) -> Result<Self, String> {
        let path = path.to_str().ok_or("must be UTF-8, because the database's URL holds it")?;
        let mut url = String::from("sqlite://");
        for byte in path.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' | b'~' => {
                    url.push(char::from(byte));
                }
                other => url.push_str(&format!("%{other:02X}")),
            }
        }
        url.push_str("?mode=rwc");
        Ok(Self { full: url.into(), kind: DatabaseKind::Sqlite })
    }

    /// Which database it leads to.
    #[must_use]
    pub fn kind(&self) -> DatabaseKind {
        self.kind
    }

    /// The URL with its password, for the driver.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.full.expose_secret()
    }
}

impl FromStr for DatabaseUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = "must be postgres://USER:PASSWORD@HOST/NAME or sqlite://PATH";
        let kind = match text.split_once(':') {
            Some(("sqlite", path)) if path.len() > 2 => DatabaseKind::Sqlite,
            Some(("postgres" | "postgresql", _)) => DatabaseKind::Postgres,
            _ => return Err(format!("{expected}; the value is not shown here")),
        };
        // Also for SQLite: the driver panics at what is not a URL.
        let url = Url::parse(text).map_err(|error| format!("{expected}: {error}"))?;
        match kind {
            DatabaseKind::Postgres if url.path().len() < 2 => {
                return Err(format!("{expected}: the name of the database is missing"));
            }
            DatabaseKind::Sqlite if in_memory(&url) => {
                return Err(format!("{expected}: memory is not shared by its two connections"));
            }
            DatabaseKind::Postgres | DatabaseKind::Sqlite => {}
        }
        Ok(Self { full: text.into(), kind })
    }
}

fn in_memory(url: &Url) -> bool {
    url.path().contains(":memory:")
        || url.query().is_some_and(|query| query.contains("mode=memory"))
}

/// Where Redis is.
#[derive(Clone)]
pub struct RedisUrl(SecretString);

impl RedisUrl {
    /// The URL with its password, for the driver.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl FromStr for RedisUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = "must be redis://HOST:PORT or rediss://USER:PASSWORD@HOST:PORT";
        let url = Url::parse(text).map_err(|error| format!("{expected}: {error}"))?;
        match url.scheme() {
            "redis" | "rediss" if url.host_str().is_some_and(|host| !host.is_empty()) => {
                Ok(Self(text.into()))
            }
            _ => Err(format!("{expected}; the value is not shown here")),
        }
    }
}

/// The URL without its password, wherever the password may stand.
fn masked(url: &str) -> String {
    let Ok(mut url) = Url::parse(url) else { return "(hidden)".to_owned() };
    // Refused only for URLs that cannot hold a password either.
    if url.password().is_some() && url.set_password(Some("***")).is_err() {
        return "(hidden)".to_owned();
    }
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    if pairs.iter().any(|(name, _)| is_password(name)) {
        let mut query = url.query_pairs_mut();
        query.clear();
        for (name, value) in &pairs {
            query.append_pair(name, if is_password(name) { "***" } else { value });
        }
    }
    url.into()
}

fn is_password(parameter: &str) -> bool {
    parameter.to_lowercase().contains("pass")
}

/// A URL that other URLs begin with: http or https, without query and password.
#[derive(Clone, PartialEq, Eq)]
pub struct BaseUrl(Url);

impl BaseUrl {
    /// The URL of `path` (with its slash in front) below this one.
    #[must_use]
    pub fn at(&self, path: &str) -> String {
        format!("{self}{path}")
    }

    /// The URL itself.
    #[must_use]
    pub fn as_url(&self) -> &Url {
        &self.0
    }
}

impl FromStr for BaseUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = "must be a URL such as https://images.example.com";
        let url = Url::parse(text).map_err(|error| format!("{expected}: {error}"))?;
        let plain = url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        match url.scheme() {
            "http" | "https" if plain => Ok(Self(url)),
            "http" | "https" => Err(format!("{expected}, without name, password, ? and #")),
            other => Err(format!("{expected}, with http or https instead of {other}")),
        }
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            DatabaseKind::Postgres => f.write_str(&masked(self.expose())),
            DatabaseKind::Sqlite => f.write_str(self.expose()),
        }
    }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&masked(self.expose()))
    }
}

macro_rules! shown_as_displayed {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    )*};
}

shown_as_displayed!(DatabaseUrl, RedisUrl, BaseUrl);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_masked_wherever_they_stand() {
        let shown = |url: &str| url.parse::<DatabaseUrl>().unwrap().to_string();
        assert_eq!(shown("postgres://me:s3cret@db/shop"), "postgres://me:***@db/shop");
        assert_eq!(shown("postgres://me@db/shop"), "postgres://me@db/shop");
        assert_eq!(
            shown("postgres://db/shop?user=me&password=s3cret&sslmode=require"),
            "postgres://db/shop?user=me&password=***&sslmode=require"
        );
        let redis: RedisUrl = "rediss://:s3cret@cache:6380/2".parse().unwrap();
        assert_eq!(redis.to_string(), "rediss://:***@cache:6380/2");
        assert_eq!(redis.expose(), "rediss://:s3cret@cache:6380/2");
    }

    #[test]
    fn a_refused_url_is_not_repeated() {
        for url in [
            "mysql://me:s3cret@db/shop",
            "postgres://me:s3cret@db",
            "s3cret",
            "sqlite:",
            "sqlite://a s3cret/x",
        ] {
            let problem = url.parse::<DatabaseUrl>().unwrap_err();
            assert!(problem.contains("postgres://USER"), "{problem}");
            assert!(!problem.contains("s3cret"), "{problem}");
        }
        for url in ["http://:s3cret@cache", "redis://", "s3cret"] {
            let problem = url.parse::<RedisUrl>().unwrap_err();
            assert!(!problem.contains("s3cret"), "{problem}");
        }
    }

    #[test]
    fn sqlite_is_a_file() {
        for url in
            ["sqlite://x.db", "sqlite:x.db", "sqlite:///var/x.db?mode=rwc", "sqlite://./x/y.db"]
        {
            assert_eq!(url.parse::<DatabaseUrl>().unwrap().expose(), url);
        }
        for url in ["sqlite::memory:", "sqlite://:memory:", "sqlite://x?mode=memory"] {
            assert!(url.parse::<DatabaseUrl>().is_err(), "{url}");
        }
    }

    #[test]
    fn an_sqlite_path_is_escaped() {
        let url = DatabaseUrl::sqlite(Path::new("/my data/100%?/t.db")).unwrap();
        assert_eq!(url.expose(), "sqlite:///my%20data/100%25%3F/t.db?mode=rwc");
    }

    #[test]
    fn links_have_one_slash() {
        for base in ["https://example.com/shop", "https://example.com/shop/"] {
            let base: BaseUrl = base.parse().unwrap();
            assert_eq!(base.at("/v1/jobs"), "https://example.com/shop/v1/jobs");
        }
        for bad in ["ftp://x", "https://me:pw@x", "https://x?y", "example.com"] {
            assert!(bad.parse::<BaseUrl>().is_err(), "{bad}");
        }
    }
}
