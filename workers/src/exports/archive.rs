//! A zip that is streamed as it is written: what an entry takes in leaves at once, and only the list of
//! entries at its end is gathered.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use chrono::{DateTime, Datelike as _, Timelike as _, Utc};
use entities::Timestamp;
use tokio::sync::mpsc;
use zip::{
    CompressionMethod, ZipWriter,
    write::{SimpleFileOptions, StreamWriter},
};

/// A piece leaves when it has this many bytes.
const PIECE: usize = 128 * 1024;

pub(super) struct Archive {
    zip: ZipWriter<StreamWriter<Buffer>>,
    buffer: Buffer,
    out: mpsc::Sender<io::Result<Bytes>>,
    made: zip::DateTime,
}

/// What was written and has not left.
#[derive(Debug, Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Buffer {
    fn take(&self, least: usize) -> Option<Bytes> {
        let mut bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (bytes.len() >= least && !bytes.is_empty()).then(|| std::mem::take(&mut *bytes).into())
    }
}

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Archive {
    pub(super) fn new(out: mpsc::Sender<io::Result<Bytes>>, now: Timestamp) -> Self {
        let buffer = Buffer::default();
        Self { zip: ZipWriter::new_stream(buffer.clone()), buffer, out, made: dos_time(now) }
    }

    /// Begins an entry. What is media already cannot be made smaller.
    pub(super) fn begin(&mut self, name: &str, is_text: bool) -> io::Result<()> {
        let method = if is_text { CompressionMethod::Deflated } else { CompressionMethod::Stored };
        let options = SimpleFileOptions::default()
            .compression_method(method)
            .last_modified_time(self.made)
            // How large it gets is known only at its end.
            .large_file(true);
        Ok(self.zip.start_file(name, options)?)
    }

    /// Adds to the entry.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.zip.write_all(bytes)?;
        self.pass_on(PIECE).await
    }

    /// A whole entry of text.
    pub(super) async fn text(&mut self, name: &str, text: &str) -> io::Result<()> {
        self.begin(name, true)?;
        self.write(text.as_bytes()).await
    }

    /// Ends the archive.
    pub(super) async fn finish(mut self) -> io::Result<()> {
        let zip = std::mem::replace(&mut self.zip, ZipWriter::new_stream(Buffer::default()));
        zip.finish()?;
        self.pass_on(0).await
    }

    async fn pass_on(&self, least: usize) -> io::Result<()> {
        let Some(piece) = self.buffer.take(least) else { return Ok(()) };
        let gone = |_| io::Error::new(io::ErrorKind::BrokenPipe, "nobody takes the archive");
        self.out.send(Ok(piece)).await.map_err(gone)
    }
}

/// The time as zip has it: since 1980, in steps of two seconds.
fn dos_time(now: Timestamp) -> zip::DateTime {
    let now = DateTime::<Utc>::from(now);
    let part = |number: u32| u8::try_from(number).unwrap_or(1);
    let year = u16::try_from(now.year()).unwrap_or(1980);
    zip::DateTime::from_date_and_time(
        year,
        part(now.month()),
        part(now.day()),
        part(now.hour()),
        part(now.minute()),
        part(now.second()),
    )
    .unwrap_or_default()
}
