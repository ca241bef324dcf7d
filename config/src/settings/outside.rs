//! The sections about what the process depends on: stores, secrets, providers, its clock, its log.

use std::{num::NonZeroU32, path::PathBuf, time::Duration};

use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use tracing_subscriber::EnvFilter;

use super::{
    Mode,
    mistake::Mistake,
    reader::Reader,
    shown,
    urls::{BaseUrl, DatabaseKind, DatabaseUrl, RedisUrl},
};

/// What is long enough to derive keys from.
const SECRET_CHARS: usize = 32;

/// The folder of this machine's own files.
#[derive(Debug, Clone, Serialize)]
pub struct Data {
    /// The folder.
    pub dir: PathBuf,
}

impl Data {
    pub(super) fn read(reader: &mut Reader) -> Option<Self> {
        Some(Self { dir: reader.required("data.dir", folder)? })
    }
}

fn folder(text: &str) -> Result<PathBuf, String> {
    match text {
        "" => Err("must be the path of a folder, such as ./data".to_owned()),
        path => Ok(PathBuf::from(path)),
    }
}

/// The database.
#[derive(Debug, Clone, Serialize)]
pub struct Database {
    /// Where it is.
    pub url: DatabaseUrl,
    /// Connections that one process keeps at most.
    pub max_connections: NonZeroU32,
}

impl Database {
    pub(super) fn read(reader: &mut Reader, mode: Mode, data: Option<&Data>) -> Option<Self> {
        let url: Option<Option<DatabaseUrl>> = reader.optional("database.url", str::parse);
        let max_connections =
            reader.number("database.max_connections", 1..=10_000).and_then(NonZeroU32::new);
        let url = match (mode, url?) {
            (Mode::Embedded, Some(url)) => url,
            (Mode::Embedded, None) => match DatabaseUrl::sqlite(&data?.dir.join("tiktomato.db")) {
                Ok(url) => url,
                Err(problem) => return note(reader, "data.dir", problem),
            },
            (Mode::Distributed, Some(url)) if url.kind() == DatabaseKind::Postgres => url,
            (Mode::Distributed, Some(_)) => {
                let problem = "separate processes cannot share an SQLite file; write \
                               postgres://USER:PASSWORD@HOST/NAME, or run everything in one process";
                return note(reader, "database.url", problem);
            }
            (Mode::Distributed, None) => {
                let example = "postgres://USER:PASSWORD@HOST/NAME";
                return missing(reader, "DATABASE_URL", &format!("a database, {example}"));
            }
        };
        Some(Self { url, max_connections: max_connections? })
    }
}

fn note<T>(reader: &mut Reader, key: &'static str, problem: impl Into<String>) -> Option<T> {
    reader.bad_here(key, problem);
    None
}

fn missing<T>(reader: &mut Reader, variable: &str, what: &str) -> Option<T> {
    reader.mistakes.push(Mistake::Missing {
        variable: variable.to_owned(),
        why: format!("separate processes share {what}"),
    });
    None
}

/// Redis.
#[derive(Debug, Clone, Serialize)]
pub struct Redis {
    /// Where it is; always there when processes are separate.
    #[serde(serialize_with = "shown::or_not_set")]
    pub url: Option<RedisUrl>,
    /// What keys begin with.
    pub prefix: String,
}

impl Redis {
    pub(super) fn read(reader: &mut Reader, mode: Mode) -> Option<Self> {
        let url = reader.optional("redis.url", str::parse);
        let prefix = reader.required("redis.prefix", |text| {
            let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
            if (1..=64).contains(&text.len()) && text.chars().all(fits) {
                return Ok(text.to_owned());
            }
            Err(format!("must be 1 to 64 letters, digits and -_.: , but is {text:?}"))
        });
        if mode == Mode::Distributed && matches!(url, Some(None)) {
            return missing(reader, "REDIS_URL", "a Redis server, redis://HOST:PORT");
        }
        Some(Self { url: url?, prefix: prefix? })
    }
}

/// Finished files.
#[derive(Debug, Clone, Serialize)]
pub struct Media {
    /// Where they are kept.
    pub dir: PathBuf,
    /// What links to them begin with.
    pub public_url: BaseUrl,
    /// How long a link works.
    #[serde(rename = "link_seconds", serialize_with = "shown::seconds")]
    pub link: Duration,
}

impl Media {
    pub(super) fn read(
        reader: &mut Reader,
        data: Option<&Data>,
        gateway: Option<&BaseUrl>,
    ) -> Option<Self> {
        let dir = reader.optional("media.dir", folder);
        let public_url = reader.optional("media.public_url", str::parse);
        let link = reader.seconds("media.link_seconds", 1.0..=604_800.0);
        Some(Self {
            dir: dir?.or_else(|| data.map(|data| data.dir.join("media")))?,
            public_url: public_url?.or_else(|| gateway.cloned())?,
            link: link?,
        })
    }
}

/// What keys are derived from.
#[derive(Debug, Clone, Serialize)]
pub struct Secrets {
    /// The first one signs, all verify. Empty when everything is in one process and none is set:
    /// then the data folder has one.
    #[serde(serialize_with = "shown::secrets")]
    pub master: Vec<SecretString>,
}

impl Secrets {
    pub(super) fn read(reader: &mut Reader, mode: Mode) -> Option<Self> {
        let key = "secrets.master";
        let (words, place) = reader.list(key)?;
        if words.is_empty() && mode == Mode::Distributed {
            let variable = super::layers::own_variable(key);
            let what = format!("a secret of at least {SECRET_CHARS} characters");
            return missing(reader, &variable, &what);
        }
        let mut fine = true;
        for (index, word) in words.iter().enumerate() {
            let length = word.chars().count();
            if length < SECRET_CHARS {
                fine = false;
                let problem = format!(
                    "secret {} has {length} characters and needs at least {SECRET_CHARS}, \
                     such as the output of `openssl rand -hex 32`",
                    index + 1
                );
                reader.bad(key, place.clone(), problem);
            }
        }
        fine.then(|| Self { master: words.into_iter().map(SecretString::from).collect() })
    }

    /// The secrets as bytes, the signing one first.
    pub fn expose(&self) -> impl Iterator<Item = &[u8]> {
        self.master.iter().map(|secret| secret.expose_secret().as_bytes())
    }
}

/// The clock.
#[derive(Debug, Clone, Serialize)]
pub struct ClockSettings {
    /// How far it is moved.
    pub offset_seconds: i64,
}

impl ClockSettings {
    pub(super) fn read(reader: &mut Reader) -> Option<Self> {
        let ten_years = 315_360_000;
        let offset_seconds = reader.number("clock.offset_seconds", -ten_years..=ten_years)?;
        Some(Self { offset_seconds })
    }
}

/// Payments.
#[derive(Debug, Clone, Serialize)]
pub struct Stripe {
    /// The key for Stripe's API.
    #[serde(serialize_with = "shown::secret")]
    pub secret_key: Option<SecretString>,
}

impl Stripe {
    pub(super) fn read(reader: &mut Reader) -> Option<Self> {
        Some(Self { secret_key: reader.secret("stripe.secret_key")? })
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines: one JSON object per line.
    Json,
}

/// The log.
#[derive(Debug, Clone, Serialize)]
pub struct Log {
    /// What is logged, in the words of `RUST_LOG`.
    pub filter: String,
    /// How a line looks.
    pub format: LogFormat,
}

impl Log {
    pub(super) fn read(reader: &mut Reader) -> Option<Self> {
        let filter = reader.required("log.filter", |text| {
            let expected = "must be a filter such as info,sqlx=warn";
            EnvFilter::try_new(text).map_err(|error| format!("{expected}: {error}"))?;
            Ok(text.to_owned())
        });
        let format = reader.required("log.format", |text| match text {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            other => Err(format!("must be \"text\" or \"json\", but is {other:?}")),
        });
        Some(Self { filter: filter?, format: format? })
    }
}
