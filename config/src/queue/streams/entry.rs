//! What is stored in Redis: key names, one entry's fields, and how replies are read.
//!
//! Every version of the payload has a stream of its own, so that programs of two versions share
//! a Redis during an upgrade without meeting each other's entries. All keys of a pool carry the
//! hash tag `{pool}`. Replies are read as bytes, entry by entry: a bad entry spoils no other.

use std::{fmt, str::FromStr};

use entities::{JobHint, hint::HINT_VERSION, ids::JobId};
use redis::{Cmd, ErrorKind, Pipeline, RedisError, Value};
use uuid::Uuid;

/// The consumer group of all workers.
pub(super) const GROUP: &str = "workers";

/// The Redis keys of one pool.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    prefix: String,
    pool: String,
    /// The stream of hints in this program's version.
    pub(super) stream: String,
    /// Where entries go that nobody can read; capped.
    pub(super) unreadable: String,
}

impl Keys {
    pub(super) fn new(prefix: &str, pool: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
            pool: pool.to_owned(),
            stream: stream(prefix, HINT_VERSION, pool),
            unreadable: format!("{prefix}:queue:unreadable:{{{pool}}}"),
        }
    }

    /// The stream that workers of another version read.
    pub(super) fn stream_of(&self, version: u16) -> String {
        stream(&self.prefix, version, &self.pool)
    }
}

fn stream(prefix: &str, version: u16, pool: &str) -> String {
    format!("{prefix}:queue:v{version}:{{{pool}}}")
}

/// An entry's id in its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct EntryId(u64, u64);

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0, self.1)
    }
}

impl EntryId {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let (time, sequence) = std::str::from_utf8(bytes).ok()?.split_once('-')?;
        Some(Self(time.parse().ok()?, sequence.parse().ok()?))
    }
}

impl redis::ToRedisArgs for EntryId {
    fn write_redis_args<W: ?Sized + redis::RedisWrite>(&self, out: &mut W) {
        out.write_arg_fmt(self);
    }
}

/// An entry as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Raw {
    pub(super) id: EntryId,
    /// Names and values, alternating.
    pub(super) fields: Vec<Vec<u8>>,
}

/// What an entry turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    Hint(JobHint),
    /// Written by a program of another version, for its like.
    OtherVersion(u16),
    Unreadable,
}

impl Raw {
    pub(super) fn content(&self) -> Content {
        let Some(version) = self.field::<u16>(b"v") else { return Content::Unreadable };
        if version != HINT_VERSION {
            return Content::OtherVersion(version);
        }
        match (self.field::<Uuid>(b"j"), self.field::<i64>(b"e")) {
            (Some(job), Some(epoch)) => Content::Hint(JobHint { job_id: JobId(job), epoch }),
            _ => Content::Unreadable,
        }
    }

    fn field<T: FromStr>(&self, name: &[u8]) -> Option<T> {
        let (pairs, _) = self.fields.as_chunks::<2>();
        let [_, value] = pairs.iter().find(|[key, _]| key == name)?;
        std::str::from_utf8(value).ok()?.parse().ok()
    }
}

/// Adds an `XADD` for each hint.
pub(super) fn add(pipeline: &mut Pipeline, stream: &str, hint: &JobHint) {
    pipeline
        .cmd("XADD")
        .arg(stream)
        .arg("*")
        .arg("v")
        .arg(HINT_VERSION)
        .arg("j")
        .arg(hint.job_id.0.simple().to_string())
        .arg("e")
        .arg(hint.epoch);
}

/// Adds what removes entries for good.
pub(super) fn remove(pipeline: &mut Pipeline, stream: &str, ids: &[EntryId]) {
    pipeline.cmd("XACK").arg(stream).arg(GROUP).arg(ids);
    pipeline.cmd("XDEL").arg(stream).arg(ids);
}

/// `XREADGROUP`, from `>` (new entries) or from an id (what this consumer already holds).
pub(super) fn read(
    stream: &str,
    consumer: &str,
    count: usize,
    block: Option<u128>,
    from: &str,
) -> Cmd {
    let mut cmd = redis::cmd("XREADGROUP");
    cmd.arg("GROUP").arg(GROUP).arg(consumer).arg("COUNT").arg(count);
    if let Some(millis) = block {
        cmd.arg("BLOCK").arg(millis.to_string());
    }
    cmd.arg("STREAMS").arg(stream).arg(from);
    cmd
}

/// The entries of an `XREADGROUP` reply; none when it timed out.
pub(super) fn read_reply(reply: Value) -> Result<Vec<Raw>, RedisError> {
    match reply {
        Value::Nil => Ok(Vec::new()),
        Value::Array(streams) => {
            let mut entries = Vec::new();
            for stream in streams {
                match stream {
                    Value::Array(parts) => entries.extend(raw_entries(parts.into_iter().nth(1))?),
                    other => return Err(unexpected(&other)),
                }
            }
            Ok(entries)
        }
        other => Err(unexpected(&other)),
    }
}

/// The entries of an `XCLAIM` reply. Redis 6.2 has a nil for an entry that was deleted; later
/// versions leave it out.
pub(super) fn claim_reply(reply: Value) -> Result<Vec<Raw>, RedisError> {
    raw_entries(Some(reply))
}

/// The ids in an `XPENDING` reply.
pub(super) fn pending_reply(reply: Value) -> Result<Vec<EntryId>, RedisError> {
    match reply {
        Value::Array(rows) => Ok(rows.iter().filter_map(pending_row).collect()),
        other => Err(unexpected(&other)),
    }
}

fn pending_row(row: &Value) -> Option<EntryId> {
    let Value::Array(columns) = row else { return None };
    let Some(Value::BulkString(id)) = columns.first() else { return None };
    EntryId::parse(id)
}

fn raw_entries(list: Option<Value>) -> Result<Vec<Raw>, RedisError> {
    match list {
        Some(Value::Array(list)) => Ok(list.into_iter().filter_map(raw_entry).collect()),
        Some(Value::Nil) | None => Ok(Vec::new()),
        Some(other) => Err(unexpected(&other)),
    }
}

/// An entry, or nothing when it was deleted since it was delivered.
fn raw_entry(value: Value) -> Option<Raw> {
    let Value::Array(parts) = value else { return None };
    let mut parts = parts.into_iter();
    let (Some(Value::BulkString(id)), Some(Value::Array(fields))) = (parts.next(), parts.next())
    else {
        return None;
    };
    let fields = fields.into_iter().map(|field| match field {
        Value::BulkString(bytes) => bytes,
        _ => Vec::new(),
    });
    Some(Raw { id: EntryId::parse(&id)?, fields: fields.collect() })
}

fn unexpected(value: &Value) -> RedisError {
    let kind = match value {
        Value::Nil => "nil",
        Value::Array(_) => "an array",
        Value::BulkString(_) => "a string",
        _ => "something else",
    };
    (ErrorKind::UnexpectedReturnType, "a reply of another shape", kind.to_owned()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn list<const N: usize>(values: [Value; N]) -> Value {
        Value::Array(values.into())
    }

    fn entry(id: &str, words: &str) -> Value {
        list([text(id), Value::Array(words.split(' ').map(text).collect())])
    }

    const JOB: &str = "0198c0de00007000800000000000000a";

    #[test]
    fn what_is_added_is_read_as_the_same_hint() {
        let hint = JobHint { job_id: JobId(JOB.parse().unwrap()), epoch: -3 };
        let mut pipeline = redis::pipe();
        add(&mut pipeline, "stream", &hint);
        let packed = String::from_utf8(pipeline.get_packed_pipeline()).unwrap();
        let words: Vec<&str> =
            packed.split("\r\n").filter(|word| !word.starts_with(['*', '$'])).collect();
        let fields = words[2..].join(" ");
        let reply = list([list([text("stream"), list([entry("5-1", fields.trim())])])]);
        let entries = read_reply(reply).unwrap();
        assert_eq!(entries[0].id, EntryId(5, 1));
        assert_eq!(entries[0].content(), Content::Hint(hint));
    }

    #[test]
    fn a_deleted_entry_is_left_out_whichever_version_answers() {
        let kept = entry("7-0", &format!("v 1 j {JOB} e 1"));
        // Redis 6.2 sends a nil in its place, or an entry without fields.
        let old = list([Value::Nil, kept.clone(), list([text("8-0"), Value::Nil])]);
        for reply in [old, list([kept])] {
            let entries = claim_reply(reply).unwrap();
            assert_eq!(entries.iter().map(|raw| raw.id).collect::<Vec<_>>(), [EntryId(7, 0)]);
        }
        assert_eq!(claim_reply(list([])).unwrap(), []);
        assert_eq!(read_reply(Value::Nil).unwrap(), []);
    }

    #[test]
    fn unknown_fields_are_ignored_and_missing_ones_are_not() {
        let content = |words: &str| raw_entry(entry("1-1", words)).unwrap().content();
        assert!(matches!(content(&format!("new 1 v 1 j {JOB} e 1")), Content::Hint(_)));
        assert_eq!(content("v 2 anything else"), Content::OtherVersion(2));
        for words in ["v 1", "v 99999 j", "j x e 1", "v", &format!("v 1 j {JOB} e")] {
            assert_eq!(content(words), Content::Unreadable, "{words}");
        }
    }

    #[test]
    fn another_shape_is_an_error_and_not_silence() {
        assert!(read_reply(Value::Okay).is_err());
        assert!(claim_reply(text("what")).is_err());
        assert!(pending_reply(Value::Nil).is_err());
    }

    #[test]
    fn all_keys_of_a_pool_share_a_slot() {
        let keys = Keys::new("tiktomato", "fal");
        for key in [&keys.stream, &keys.unreadable, &keys.stream_of(9)] {
            assert!(key.contains("{fal}"), "{key}");
        }
        assert_ne!(keys.stream, keys.stream_of(9));
    }
}
