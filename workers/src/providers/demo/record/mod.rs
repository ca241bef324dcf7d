//! The demo provider's own books: `demo/accepted.jsonl` in the data folder, one JSON object a line.
//!
//! Lines are only ever added, and a line is in the file before its answer is given, so a killed
//! process loses nothing that it promised: what `write` has taken is in the kernel's hands, and
//! only the machine itself can lose it. (That is why nothing is synced to disk: a demo request
//! that a power cut takes costs nobody anything.) Several processes may share the file. Each line
//! goes out in one `write` in append mode, which the kernel does not mix with another's. What is
//! known in memory is filled from the file, from where the last look ended.
//!
//! Three kinds of line, told apart by `event`: `accepted`, and `canceled` or `finished` for how a
//! request ended. Where two processes end the same request, the first line in the file decides.
//! A process that is killed in the middle of a write leaves a torn line: it is skipped, and the
//! next writer begins on a new line.

use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use entities::{Timestamp, ids::AttemptId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

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
    /// What was asked for.
    pub input: Value,
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

/// What is kept in memory of one request; the rest is read from the file again when needed.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    start: u64,
    size: usize,
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
    /// How much of the file is known.
    read: u64,
    requests: HashMap<String, Entry>,
    attempts: HashMap<AttemptId, String>,
}

/// The file and what is known of it. All of it blocks: call it off the async threads.
#[derive(Debug)]
pub(super) struct Record {
    path: PathBuf,
    index: Mutex<Index>,
}

impl Record {
    /// Creates the folder where it is missing.
    pub(super) fn open(data: &Path) -> io::Result<Self> {
        let folder = data.join("demo");
        std::fs::create_dir_all(&folder)?;
        Ok(Self { path: folder.join("accepted.jsonl"), index: Mutex::default() })
    }

    /// Notes that a request was accepted; only then may it be said.
    pub(super) fn accept(&self, acceptance: Acceptance) -> Result<(), AppendError> {
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

    /// Everything that was noted when a request was accepted.
    pub(super) fn read(&self, entry: &Entry) -> io::Result<Acceptance> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(entry.start))?;
        let mut line = vec![0; entry.size];
        file.read_exact(&mut line)?;
        match parse(&line) {
            Some(Line::Accepted(acceptance)) => Ok(acceptance),
            _ => Err(io::Error::new(ErrorKind::InvalidData, "the record was changed")),
        }
    }

    fn append(&self, line: &Line) -> Result<(), AppendError> {
        let mut text = serde_json::to_vec(line).map_err(io::Error::from)?;
        text.push(b'\n');
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
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                *index = Index::default();
                return Ok(index);
            }
            Err(error) => return Err(error),
        };
        let size = file.metadata()?.len();
        if size < index.read {
            // Somebody emptied the data folder.
            *index = Index::default();
        }
        if size > index.read {
            file.seek(SeekFrom::Start(index.read))?;
            index.fill(&mut BufReader::new(file))?;
        }
        Ok(index)
    }
}

impl Index {
    fn fill(&mut self, file: &mut impl BufRead) -> io::Result<()> {
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
                Some(parsed) => self.add(parsed, start, size),
                None if line.trim_ascii().is_empty() => {}
                None => tracing::warn!(start, "skipped a torn line in the demo provider's record"),
            }
        }
    }

    fn add(&mut self, line: Line, start: u64, size: usize) {
        match line {
            Line::Accepted(Acceptance { attempt_id, request_id, input, accepted_at, .. }) => {
                let seconds = input["delay_seconds"].as_f64().unwrap_or(0.0);
                let delay = Duration::try_from_secs_f64(seconds).unwrap_or_default();
                self.attempts.entry(attempt_id).or_insert_with(|| request_id.clone());
                let entry = Entry { start, size, accepted_at, delay, end: None };
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
