//! Writing the record anew without what is to be forgotten.
//!
//! The new file is written beside the old one and takes its place in one step. Writers hold a
//! shared lock on `accepted.lock` meanwhile, and whoever tidies an exclusive one, so that no line
//! goes to a file that nobody will read. The kernel frees the locks of a killed process; those of a
//! frozen one are not waited for: a line is then refused, and tidying is left for later.

use std::{
    collections::HashSet,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, BufRead as _, BufReader, BufWriter, ErrorKind, Write as _},
    path::PathBuf,
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use entities::Timestamp;

use super::{Line, parse};

/// How often at most.
const EVERY: Duration = Duration::from_secs(60 * 60);

/// How often a lock is tried, and how soon again. Nobody holds one for longer than it takes to write
/// the file.
const TRIES: u32 = 500;
const AGAIN: Duration = Duration::from_millis(10);

/// A lock that is held until this is dropped.
pub(super) struct Held(#[expect(dead_code, reason = "closing it frees the lock")] File);

#[derive(Debug)]
pub(super) struct Tidy {
    path: PathBuf,
    kept: Duration,
    last: Mutex<Timestamp>,
}

impl Tidy {
    pub(super) fn new(path: PathBuf, kept: Duration) -> Self {
        Self { path, kept, last: Mutex::new(Timestamp(0)) }
    }

    /// For as long as a line is added.
    pub(super) fn writer(&self) -> io::Result<Held> {
        let file = self.lock_file()?;
        if patiently(|| file.try_lock_shared())? {
            return Ok(Held(file));
        }
        Err(io::Error::new(ErrorKind::TimedOut, "somebody is writing it anew"))
    }

    pub(super) fn run_if_due(&self, now: Timestamp) -> io::Result<()> {
        {
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            // A clock that goes back does not stop it for ever.
            if now.since(*last) < EVERY && *last <= now {
                return Ok(());
            }
            *last = now;
        }
        self.run(now)
    }

    /// Writes the file anew if there is something in it that should not be: old requests, or the
    /// inputs that older versions noted.
    pub(super) fn run(&self, now: Timestamp) -> io::Result<()> {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = now;
        let lock = self.lock_file()?;
        if !patiently(|| lock.try_lock())? {
            tracing::warn!("the demo provider's record is in use; it is tidied another time");
            return Ok(());
        }
        let old = match File::open(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            old => old?,
        };
        let new = self.path.with_extension("new");
        let mut out = BufWriter::new(File::create(&new)?);
        let changed = self.copy(old, &mut out, now)?;
        out.flush()?;
        if changed { fs::rename(&new, &self.path) } else { fs::remove_file(&new) }
    }

    /// Copies what stays; whether something does not, or not as it was.
    fn copy(&self, old: File, out: &mut impl io::Write, now: Timestamp) -> io::Result<bool> {
        let mut changed = false;
        let mut forgotten = HashSet::new();
        let mut old = BufReader::new(old);
        let mut bytes = Vec::new();
        while old.read_until(b'\n', &mut bytes)? > 0 {
            let line = parse(&bytes);
            let stays = match &line {
                Some(Line::Accepted(request)) if now.since(request.accepted_at) > self.kept => {
                    forgotten.insert(request.request_id.clone());
                    false
                }
                Some(Line::Accepted(_)) => true,
                Some(Line::Canceled { request_id, .. } | Line::Finished { request_id, .. }) => {
                    !forgotten.contains(request_id)
                }
                // Torn.
                None => false,
            };
            let mut kept = Vec::new();
            if let Some(line) = line.filter(|_| stays) {
                kept = serde_json::to_vec(&line)?;
                kept.push(b'\n');
                out.write_all(&kept)?;
            }
            changed |= kept != bytes;
            bytes.clear();
        }
        Ok(changed)
    }

    fn lock_file(&self) -> io::Result<File> {
        let path = self.path.with_extension("lock");
        OpenOptions::new().write(true).create(true).truncate(false).open(path)
    }
}

/// Tries to lock for a while; whether it is locked.
fn patiently(mut lock: impl FnMut() -> Result<(), TryLockError>) -> io::Result<bool> {
    for _ in 0..TRIES {
        match lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) => thread::sleep(AGAIN),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Ok(false)
}
