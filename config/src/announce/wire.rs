//! How announcements travel: a line that names the version and the sender, then one line each.
//!
//! A reader skips lines of a kind that it does not know, and messages of another version.

use std::fmt::Write as _;

use entities::ids::{ApiKeyId, JobId};
use uuid::Uuid;

use super::Announcement;

const VERSION: &str = "1";

/// The announcements of `sender` as one message.
pub(super) fn encode(sender: Uuid, messages: &[Announcement]) -> String {
    let mut text = format!("{VERSION} {}", sender.simple());
    for message in messages {
        // Writing to a string cannot fail.
        let _ = match message {
            Announcement::Job { id, version } => write!(text, "\nj {} {version}", id.0.simple()),
            Announcement::Waiting { pool } if pool.contains('\n') => Ok(()),
            Announcement::Waiting { pool } => write!(text, "\nw {pool}"),
            Announcement::Callback { provider } if provider.contains('\n') => Ok(()),
            Announcement::Callback { provider } => write!(text, "\nc {provider}"),
            Announcement::KeyRevoked { id } => write!(text, "\nk {}", id.0.simple()),
            Announcement::Resync => write!(text, "\nr"),
        };
    }
    text
}

/// What others than `reader` announced in a message.
pub(super) fn decode(reader: Uuid, message: &[u8]) -> Vec<Announcement> {
    let Ok(text) = std::str::from_utf8(message) else { return Vec::new() };
    let mut lines = text.split('\n');
    let sender = lines.next().and_then(|line| line.strip_prefix(VERSION)?.strip_prefix(' '));
    match sender.map(Uuid::try_parse) {
        Some(Ok(sender)) if sender != reader => lines.filter_map(decode_line).collect(),
        Some(_) | None => Vec::new(),
    }
}

fn decode_line(line: &str) -> Option<Announcement> {
    let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
    match kind {
        "j" => {
            let (id, version) = rest.split_once(' ')?;
            Some(Announcement::Job {
                id: JobId(Uuid::try_parse(id).ok()?),
                version: version.parse().ok()?,
            })
        }
        "w" => Some(Announcement::Waiting { pool: rest.to_owned() }),
        "c" => Some(Announcement::Callback { provider: rest.to_owned() }),
        "k" => Some(Announcement::KeyRevoked { id: ApiKeyId(Uuid::try_parse(rest).ok()?) }),
        "r" => Some(Announcement::Resync),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_read_what_was_written() {
        let messages = [
            Announcement::Job { id: JobId::generate(), version: 7 },
            Announcement::Waiting { pool: "hugging face".to_owned() },
            Announcement::Callback { provider: "fal".to_owned() },
            Announcement::KeyRevoked { id: ApiKeyId::generate() },
            Announcement::Resync,
        ];
        let (me, other) = (Uuid::new_v4(), Uuid::new_v4());
        let message = encode(me, &messages);
        assert_eq!(decode(other, message.as_bytes()), messages);
        assert_eq!(decode(me, message.as_bytes()), []);
    }

    #[test]
    fn unknown_kinds_and_versions_are_skipped() {
        let (me, other) = (Uuid::new_v4(), Uuid::new_v4());
        let text = format!("1 {}\nx what is this\nw fal\nj broken\n\nk", me.simple());
        let waiting = Announcement::Waiting { pool: "fal".to_owned() };
        assert_eq!(decode(other, text.as_bytes()), [waiting]);
        assert_eq!(decode(other, format!("2 {}\nw fal", me.simple()).as_bytes()), []);
        assert_eq!(decode(other, b"\xff"), []);
        assert_eq!(decode(other, b""), []);
    }
}
