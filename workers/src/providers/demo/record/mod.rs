//! The demo provider's own books: `demo/accepted.jsonl` in the data folder, one JSON object a line.
//!
//! A line is in the file before its answer is given, so a killed process loses nothing that it
//! promised: what `write` has taken is in the kernel's hands, and only the machine itself can lose
//! it. (That is why nothing is synced to disk: a demo request that a power cut takes costs nobody
//! anything.) Several processes may share the file. Each line goes out in one `write` in append
//! mode, which the kernel does not mix with another's. What is known in memory is filled from the
//! file, from where the last look ended.
//!
//! Three kinds of line, told apart by `event`: `accepted`, and `canceled` or `finished` for how a
//! request ended. Where two processes end the same request, the first line in the file decides.
//! A process that is killed in the middle of a write leaves a torn line: it is skipped, and the
//! next writer begins on a new line.
//!
//! Nothing of what was asked for is noted. Requests that are older than content may be are left
//! out when the file is written anew, at the start and then about once an hour as long as there are
//! requests ([`tidy`]).

mod tidy;

use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom, Write},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use entities::{Timestamp, ids::AttemptId};
use serde::{Deserialize, Serialize};

use self::tidy::Tidy;

/// What every line begins with.
const START: &str = r#"{"event":"#;

/// A request that the demo provider accepted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Acceptance {
    /// Our name for the call.
    pub attempt_id: AttemptId,
    /// The demo provider's name for it.
    pub request_id: String,
    /// The model, as the provider calls it.
    pub model: String,
    /// How long it takes.
    #[serde(default)]
    pub delay_seconds: f64,
    /// When.
    pub accepted_at: Timestamp,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Canceled,
    Finished,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Line {
    Accepted(Acceptance),
    Canceled { request_id: String, at: Timestamp },
    Finished { request_id: String, at: Timestamp },
}

/// What is known of one request.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) accepted_at: Timestamp,
    pub(super) delay: Duration,
    pub(super) end: Option<End>,
}

/// Why a line could not be added.
#[derive(Debug, thiserror::Error)]
pub(super) enum AppendError {
    /// Nothing of it is in the file.
    #[error("the demo provider cannot write its record: {0}")]
    Nothing(#[from] io::Error),
    /// A part of it is: a reader may or may not see it.
    #[error("the demo provider wrote only a part of a line to its record")]
    Part,
}

#[derive(Debug, Default)]
struct Index {
    /// The file that was read. It is kept open: another one in its place is told by its number,
    /// which is not given away again meanwhile.
    file: Option<File>,
    /// How much of it is known.
    read: u64,
    requests: HashMap<String, Entry>,
    attempts: HashMap<AttemptId, String>,
}

/// The file and what is known of it. All of it blocks: call it off the async threads.
#[derive(Debug)]
pub(super) struct Record {
    path: PathBuf,
    tidy: Tidy,
    index: Mutex<Index>,
}

impl Record {
    /// Creates the folder where it is missing, and forgets what was accepted longer than `kept`
    /// ago.
    pub(super) fn open(data: &Path, kept: Duration, now: Timestamp) -> io::Result<Self> {
        let folder = data.join("demo");
        std::fs::create_dir_all(&folder)?;
        let path = folder.join("accepted.jsonl");
        let tidy = Tidy::new(path.clone(), kept);
        tidy.run(now)?;
        Ok(Self { path, tidy, index: Mutex::default() })
    }

    /// Notes that a request was accepted; only then may it be said.
    pub(super) fn accept(&self, acceptance: Acceptance) -> Result<(), AppendError> {
        if let Err(error) = self.tidy.run_if_due(acceptance.accepted_at) {
            tracing::warn!(%error, "the demo provider's record was not tidied");
        }
        self.append(&Line::Accepted(acceptance))
    }

    /// Ends a request, and says how it has ended: as asked, or as another process did before.
    pub(super) fn end(
        &self,
        request_id: &str,
        end: End,
        at: Timestamp,
    ) -> Result<End, AppendError> {
        let request_id = request_id.to_owned();
        let key = request_id.clone();
        self.append(&match end {
            End::Canceled => Line::Canceled { request_id, at },
            End::Finished => Line::Finished { request_id, at },
        })?;
        Ok(self.find(&key)?.and_then(|entry| entry.end).unwrap_or(end))
    }

    pub(super) fn find(&self, request_id: &str) -> io::Result<Option<Entry>> {
        Ok(self.current()?.requests.get(request_id).cloned())
    }

    /// The request that was accepted (first) for an attempt.
    pub(super) fn of_attempt(&self, attempt: AttemptId) -> io::Result<Option<(String, Entry)>> {
        let index = self.current()?;
        let found = index.attempts.get(&attempt).and_then(|id| index.requests.get_key_value(id));
        Ok(found.map(|(id, entry)| (id.clone(), entry.clone())))
    }

    fn append(&self, line: &Line) -> Result<(), AppendError> {
        let mut text = serde_json::to_vec(line).map_err(io::Error::from)?;
        text.push(b'\n');
        // Held to the end: nobody puts another file in the place of this one meanwhile.
        let _writer = self.tidy.writer()?;
        let mut options = OpenOptions::new();
        let mut file = options.read(true).append(true).create(true).open(&self.path)?;
        if torn(&mut file)? {
            text.insert(0, b'\n');
        }
        loop {
            match file.write(&text) {
                Ok(written) if written == text.len() => return Ok(()),
                Ok(_) => return Err(AppendError::Part),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The index, after a look at what was added to the file.
    fn current(&self) -> io::Result<MutexGuard<'_, Index>> {
        // A panic elsewhere leaves it whole: a line is either known or read again.
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        let found = match std::fs::metadata(&self.path) {
            Ok(found) => found,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                *index = Index::default();
                return Ok(index);
            }
            Err(error) => return Err(error),
        };
        let same = match &index.file {
            Some(file) => {
                (file.metadata()?.dev(), file.metadata()?.ino()) == (found.dev(), found.ino())
            }
            None => false,
        };
        // Somebody emptied the data folder, or wrote the file anew.
        if !same || found.len() < index.read {
            *index = Index { file: Some(File::open(&self.path)?), ..Index::default() };
        }
        index.fill()?;
        Ok(index)
    }
}

impl Index {
    /// Reads what is new in its file.
    fn fill(&mut self) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        if file.metadata()?.len() <= self.read {
            return Ok(());
        }
        let mut file = file.try_clone()?;
        file.seek(SeekFrom::Start(self.read))?;
        let mut file = BufReader::new(file);
        let mut line = Vec::new();
        loop {
            line.clear();
            let size = file.read_until(b'\n', &mut line)?;
            if line.last() != Some(&b'\n') {
                // The end, or a line that is still being written: the next look begins here.
                return Ok(());
            }
            let start = self.read;
            self.read += size as u64;
            match parse(&line) {
                Some(parsed) => self.add(parsed),
                None if line.trim_ascii().is_empty() => {}
                None => tracing::warn!(start, "skipped a torn line in the demo provider's record"),
            }
        }
    }

    fn add(&mut self, line: Line) {
        match line {
            Line::Accepted(Acceptance {
                attempt_id,
                request_id,
                delay_seconds,
                accepted_at,
                ..
            }) => {
                let delay = Duration::try_from_secs_f64(delay_seconds).unwrap_or_default();
                self.attempts.entry(attempt_id).or_insert_with(|| request_id.clone());
                let entry = Entry { accepted_at, delay, end: None };
                self.requests.entry(request_id).or_insert(entry);
            }
            Line::Canceled { request_id, .. } => self.end(&request_id, End::Canceled),
            Line::Finished { request_id, .. } => self.end(&request_id, End::Finished),
        }
    }

    fn end(&mut self, request_id: &str, end: End) {
        if let Some(entry) = self.requests.get_mut(request_id) {
            entry.end.get_or_insert(end);
        }
    }
}

/// Whether the last line has no end.
fn torn(file: &mut File) -> io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

/// One line, also behind the torn beginning of another: inside of a JSON text the quotes of
/// [`START`] would be escaped, so its last appearance is a true beginning.
fn parse(line: &[u8]) -> Option<Line> {
    let text = std::str::from_utf8(line).ok()?;
    serde_json::from_str(&text[text.rfind(START)?..]).ok()
}

/// Everything that the demo provider with this data folder has accepted, in order: its books, to
/// hold the platform's against.
///
/// # Errors
/// When the file cannot be read. No file: nothing was accepted.
pub fn accepted(data: &Path) -> io::Result<Vec<Acceptance>> {
    let text = match std::fs::read(data.join("demo").join("accepted.jsonl")) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        text => text?,
    };
    let whole = text.split_inclusive(|&byte| byte == b'\n').filter(|line| line.ends_with(b"\n"));
    let found = whole.filter_map(parse).filter_map(|line| match line {
        Line::Accepted(acceptance) => Some(acceptance),
        Line::Canceled { .. } | Line::Finished { .. } => None,
    });
    Ok(found.collect())
}

#[cfg(test)]
mod tests;
