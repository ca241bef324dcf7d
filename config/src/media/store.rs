//! The store itself, over an `object_store`: a local folder now, a bucket behind the same calls.
//!
//! A file is streamed to a staging object, checked there, and only then moved to its key in one
//! step. Writes are flushed to disk before they count.

mod copying;

use std::{
    error::Error,
    io,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use entities::job::Kind;
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream::BoxStream};
use object_store::{
    ObjectStore, ObjectStoreExt as _, PutPayload, local::LocalFileSystem, path::Path as ObjectPath,
};
use tokio::sync::Semaphore;

use self::copying::{Copying, Kept, Uninspected, Watch};
use super::{
    BadKey, ContentType, MediaKey, ebml,
    probe::{self, Found, START},
    thumbnail::Small,
};
use crate::net::FetchError;

/// A part of a multipart upload; at most this much of a file is in memory, images apart.
const PART: usize = 4 * 1024 * 1024;

/// A source that sends nothing for this long has failed.
const SILENCE: Duration = Duration::from_secs(60);

/// Staging files that nothing was written to for this long belong to nobody.
const STALE: Duration = Duration::from_secs(24 * 60 * 60);

/// Where files are while they are copied.
pub(super) const STAGING: &str = "staging";

/// Why media could not be stored or read.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    /// The bytes stopped coming. Worth another try.
    #[error("the source failed: {0}")]
    Source(String),
    /// It lies where nothing may be read from.
    #[error("{0}")]
    Forbidden(String),
    /// More bytes than allowed.
    #[error("the file is larger than allowed: {0} bytes")]
    TooLarge(u64),
    /// Not a type of media that the model delivers.
    #[error("the file is not of a type that is allowed here")]
    WrongType,
    /// Damaged.
    #[error("the file cannot be decoded: {0}")]
    Unreadable(String),
    /// There is no such file.
    #[error("there is no such file")]
    NotFound,
    /// Not a name of a file.
    #[error(transparent)]
    BadKey(#[from] BadKey),
    /// There is no room left for it. Worth another try later.
    #[error("the media store is full")]
    Full,
    /// The store failed: away, or not permitted.
    #[error("the media store failed: {0}")]
    Store(String),
}

impl MediaError {
    /// Whether another try cannot help.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            Self::Forbidden(_)
            | Self::TooLarge(_)
            | Self::WrongType
            | Self::Unreadable(_)
            | Self::BadKey(_) => true,
            Self::Source(_) | Self::NotFound | Self::Full | Self::Store(_) => false,
        }
    }
}

impl From<FetchError> for MediaError {
    fn from(error: FetchError) -> Self {
        match error {
            FetchError::Forbidden(_) => Self::Forbidden(error.to_string()),
            FetchError::TooLarge(bytes) => Self::TooLarge(bytes),
            FetchError::Failed(text) => Self::Source(text),
        }
    }
}

impl From<object_store::Error> for MediaError {
    fn from(error: object_store::Error) -> Self {
        match error {
            object_store::Error::NotFound { .. } => Self::NotFound,
            other if is_full(&other) => Self::Full,
            other => Self::Store(other.to_string()),
        }
    }
}

/// Whether the disk, or our share of it, is used up.
fn is_full(error: &object_store::Error) -> bool {
    let kinds = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<io::Error>().is_some_and(|error| kinds.contains(&error.kind())) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// What may be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PutLimits {
    kind: Kind,
    bytes: u64,
    /// Whether large pictures get one.
    thumbnail: bool,
}

impl PutLimits {
    /// Images: 50 MB, and a thumbnail.
    #[must_use]
    pub fn image() -> Self {
        Self { kind: Kind::Image, bytes: 50_000_000, thumbnail: true }
    }

    /// What users hand in: images of 20 MB.
    #[must_use]
    pub fn upload() -> Self {
        Self { kind: Kind::Image, bytes: 20_000_000, thumbnail: false }
    }

    /// Videos: 2 GB.
    #[must_use]
    pub fn video() -> Self {
        Self { kind: Kind::Video, bytes: 2_000_000_000, thumbnail: false }
    }
}

impl PutLimits {
    /// The largest file, in bytes.
    #[must_use]
    pub fn bytes(self) -> u64 {
        self.bytes
    }
}

/// A file that is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its name.
    pub key: MediaKey,
    /// Found in its bytes.
    pub content_type: ContentType,
    /// Its size.
    pub bytes: u64,
    /// Hexadecimal.
    pub sha256: String,
    /// In pixels, where known.
    pub width: Option<u32>,
    /// In pixels, where known.
    pub height: Option<u32>,
    /// For moving pictures, where known.
    pub duration_ms: Option<u64>,
    /// Where one was wanted and the file is not small itself.
    pub thumbnail: Option<Thumbnail>,
}

/// The stored thumbnail of a picture; its name is [`MediaKey::thumbnail`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thumbnail {
    /// What it is.
    pub content_type: ContentType,
    /// Its size.
    pub bytes: u64,
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
}

/// What is known of a stored file without reading it all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its size.
    pub bytes: u64,
    /// Found in its bytes.
    pub content_type: &'static str,
}

/// Keeps media. Cheap to clone.
#[derive(Debug, Clone)]
pub struct MediaStore {
    pub(super) objects: Arc<dyn ObjectStore>,
    pub(super) staging: PathBuf,
    /// A decoded picture takes up to half a gigabyte: no more at once than there are processors.
    decoders: Arc<Semaphore>,
}

impl MediaStore {
    /// A store in a local folder, which is made if it is missing.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn local(folder: &Path) -> Result<Self, MediaError> {
        let failed = |error: &dyn std::fmt::Display| {
            MediaError::Store(format!("the folder {} cannot be used: {error}", folder.display()))
        };
        std::fs::create_dir_all(folder).map_err(|error| failed(&error))?;
        let objects = LocalFileSystem::new_with_prefix(folder)
            .map_err(|error| failed(&error))?
            .with_automatic_cleanup(true)
            .with_fsync(true);
        let decoders = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self {
            objects: Arc::new(objects),
            staging: folder.join(STAGING),
            decoders: Arc::new(Semaphore::new(decoders)),
        })
    }

    /// Whether something can be stored now.
    ///
    /// # Errors
    /// When not.
    pub async fn probe(&self) -> Result<(), MediaError> {
        let path = ObjectPath::from(format!("{STAGING}/probe-{}", uuid::Uuid::new_v4().simple()));
        self.objects.put(&path, PutPayload::from_static(b"probe")).await?;
        self.objects.delete(&path).await?;
        Ok(())
    }

    /// Stores the bytes under `key`, whole or not at all; the same key again replaces the file.
    ///
    /// # Errors
    /// See [`MediaError`]; nothing is left behind.
    pub async fn put<S>(
        &self,
        key: &MediaKey,
        source: S,
        limits: PutLimits,
    ) -> Result<Stored, MediaError>
    where
        S: Stream<Item = io::Result<Bytes>> + Send + Unpin,
    {
        let staging = staging(key);
        let stored = self.put_staged(key, &staging, source, limits).await;
        // A file that is stored was moved away from there.
        if stored.is_err() {
            self.clear(&staging).await;
        }
        stored
    }

    /// Stores the bytes of an archive that was made here under `key`, whole or not at all; nothing is
    /// looked for in them. Answers with their number.
    ///
    /// # Errors
    /// See [`MediaError`]; nothing is left behind.
    pub async fn put_archive<S>(&self, key: &MediaKey, source: S) -> Result<u64, MediaError>
    where
        S: Stream<Item = io::Result<Bytes>> + Send + Unpin,
    {
        let staging = staging(key);
        let stored = async {
            let bytes = self.copy(&staging, source, Uninspected(0)).await?;
            self.objects.rename(&staging, &path(key)).await?;
            Ok(bytes)
        };
        let stored = stored.await;
        if stored.is_err() {
            self.clear(&staging).await;
        }
        stored
    }

    async fn clear(&self, staging: &ObjectPath) {
        if let Err(error) = self.objects.delete(staging).await
            && !matches!(error, object_store::Error::NotFound { .. })
        {
            tracing::warn!(%error, "a staging file was not removed");
        }
    }

    async fn put_staged<S>(
        &self,
        key: &MediaKey,
        staging: &ObjectPath,
        source: S,
        limits: PutLimits,
    ) -> Result<Stored, MediaError>
    where
        S: Stream<Item = io::Result<Bytes>> + Send + Unpin,
    {
        let copied = self.copy(staging, source, Copying::new(limits)).await?;
        let content_type = copied.content_type;
        let (found, small) = match copied.kept {
            Kept::Image(bytes) => self.decode(content_type, bytes, limits.thumbnail).await?,
            Kept::Mp4(boxes) => (boxes.finish().map_err(MediaError::Unreadable)?, None),
            Kept::Webm(head) => {
                (ebml::read(&head, copied.bytes).map_err(MediaError::Unreadable)?, None)
            }
        };
        self.objects.rename(staging, &path(key)).await?;
        let thumbnail = self.put_thumbnail(key, small).await;
        Ok(Stored {
            key: key.clone(),
            content_type,
            bytes: copied.bytes,
            sha256: hex::encode(copied.sha256),
            width: found.width,
            height: found.height,
            duration_ms: found.duration_ms,
            thumbnail,
        })
    }

    async fn decode(
        &self,
        content_type: ContentType,
        bytes: Bytes,
        wants_thumbnail: bool,
    ) -> Result<(Found, Option<Small>), MediaError> {
        let failed = |error: &dyn std::fmt::Display| MediaError::Store(error.to_string());
        let turn = Arc::clone(&self.decoders).acquire_owned().await;
        let turn = turn.map_err(|error| failed(&error))?;
        let decoded = tokio::task::spawn_blocking(move || {
            // Held to the end of the work, also when nobody waits for it any more.
            let _turn = turn;
            probe::decode(content_type, &bytes, wants_thumbnail)
        });
        decoded.await.map_err(|error| failed(&error))?.map_err(MediaError::Unreadable)
    }

    /// Stores a thumbnail, whole or not at all. Without one a picture is as good.
    async fn put_thumbnail(&self, key: &MediaKey, small: Option<Small>) -> Option<Thumbnail> {
        let (small, key) = (small?, key.thumbnail()?);
        let stored = Thumbnail {
            content_type: small.content_type,
            bytes: small.bytes.len() as u64,
            width: small.width,
            height: small.height,
        };
        match self.objects.put(&path(&key), small.bytes.into()).await {
            Ok(_) => Some(stored),
            Err(error) => {
                tracing::warn!(%error, "a thumbnail was not stored");
                None
            }
        }
    }

    async fn copy<S, W: Watch>(
        &self,
        to: &ObjectPath,
        mut source: S,
        mut watch: W,
    ) -> Result<W::Seen, MediaError>
    where
        S: Stream<Item = io::Result<Bytes>> + Send + Unpin,
    {
        let mut upload = self.objects.put_multipart(to).await?;
        let result = async {
            let mut part = BytesMut::new();
            while let Some(bytes) = next(&mut source).await? {
                watch.take(&bytes)?;
                part.extend_from_slice(&bytes);
                if part.len() >= PART {
                    upload.put_part(part.split().freeze().into()).await?;
                }
            }
            let seen = watch.end()?;
            if !part.is_empty() {
                upload.put_part(part.freeze().into()).await?;
            }
            Ok(seen)
        }
        .await;
        match result {
            Ok(seen) => {
                upload.complete().await?;
                Ok(seen)
            }
            Err(error) => {
                if let Err(error) = upload.abort().await {
                    tracing::warn!(%error, "a half copy was not removed");
                }
                Err(error)
            }
        }
    }

    /// What is known of a file.
    ///
    /// # Errors
    /// When there is no such file, or the store fails.
    pub async fn head(&self, key: &str) -> Result<File, MediaError> {
        let path = path(&key.parse()?);
        let bytes = self.objects.head(&path).await?.size;
        let start = self.objects.get_range(&path, 0..bytes.min(START as u64)).await?;
        let other =
            if key.ends_with(".zip") { "application/zip" } else { "application/octet-stream" };
        let content_type = ContentType::sniff(&start).map_or(other, ContentType::mime);
        Ok(File { bytes, content_type })
    }

    /// A part of a file, as it is read.
    ///
    /// # Errors
    /// When there is no such file, or the store fails.
    pub async fn read(
        &self,
        key: &str,
        range: Range<u64>,
    ) -> Result<BoxStream<'static, Result<Bytes, MediaError>>, MediaError> {
        let options = object_store::GetOptions { range: Some(range.into()), ..Default::default() };
        let found = self.objects.get_opts(&path(&key.parse()?), options).await?;
        Ok(found.into_stream().map_err(MediaError::from).boxed())
    }

    /// Deletes a file, its thumbnail first; what is gone already is no error.
    ///
    /// # Errors
    /// When the name is bad or the store fails.
    pub async fn delete(&self, key: impl AsRef<str>) -> Result<(), MediaError> {
        let key: MediaKey = key.as_ref().parse()?;
        for key in key.thumbnail().iter().chain([&key]) {
            match self.objects.delete(&path(key)).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Removes staging files that a crash left more than a day ago. The age is that of the files on
    /// this machine, so it is the machine's own clock that counts. The folder itself is read: the
    /// store's list leaves out its own half-written files.
    ///
    /// # Errors
    /// When the folder cannot be read or a file cannot be removed.
    pub async fn remove_stale(&self) -> Result<usize, MediaError> {
        let folder = self.staging.clone();
        tokio::task::spawn_blocking(move || remove_older(&folder, STALE))
            .await
            .map_err(|error| MediaError::Store(error.to_string()))?
            .map_err(|error| MediaError::Store(error.to_string()))
    }
}

fn remove_older(folder: &Path, age: Duration) -> io::Result<usize> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    let mut removed = 0;
    for entry in entries {
        let path = entry?.path();
        let gone = || match std::fs::metadata(&path) {
            // Its copy ended meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            // What was written in the future (the clock was set back since) is left alone too.
            Ok(file) if file.is_file() && file.modified()?.elapsed().is_ok_and(|old| old > age) => {
                std::fs::remove_file(&path).map(|()| true)
            }
            found => found.map(|_| false),
        };
        removed += usize::from(gone()?);
    }
    Ok(removed)
}

/// Where a file is while it is copied. The name tells whose it is, so that what a crash leaves can be
/// removed with its owner.
fn staging(key: &MediaKey) -> ObjectPath {
    let name = key.as_str().replace('/', "~");
    ObjectPath::from(format!("{STAGING}/{name}~{}", uuid::Uuid::new_v4().simple()))
}

fn path(key: &MediaKey) -> ObjectPath {
    ObjectPath::from(key.as_str())
}

async fn next<S>(source: &mut S) -> Result<Option<Bytes>, MediaError>
where
    S: Stream<Item = io::Result<Bytes>> + Unpin,
{
    match tokio::time::timeout(SILENCE, source.next()).await {
        Err(_) => Err(MediaError::Source("it fell silent".into())),
        Ok(Some(Err(error))) => Err(MediaError::Source(error.to_string())),
        Ok(Some(Ok(bytes))) => Ok(Some(bytes)),
        Ok(None) => Ok(None),
    }
}

#[cfg(test)]
mod tests;
