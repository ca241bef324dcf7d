//! The store itself, over an `object_store`: a local folder now, a bucket behind the same calls.
//!
//! A file is streamed to a staging object, checked there, and only then copied to its key in one
//! step. Writes are flushed to disk before they count.

use std::{ops::Range, path::Path, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use entities::job::Kind;
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream::BoxStream};
use object_store::{
    ObjectStore, ObjectStoreExt as _, PutPayload, local::LocalFileSystem, path::Path as ObjectPath,
};
use sha2::{Digest as _, Sha256};

use super::{
    BadKey, ContentType, MediaKey,
    probe::{self, Found},
};
use crate::net::FetchError;

/// A part of a multipart upload; at most this much of a file is in memory, images apart.
const PART: usize = 4 * 1024 * 1024;

/// A source that sends nothing for this long has failed.
const SILENCE: Duration = Duration::from_secs(60);

/// Staging objects older than this belong to nobody.
const STALE: Duration = Duration::from_secs(24 * 60 * 60);

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
    /// The store failed: full, away, or not permitted.
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
            Self::Source(_) | Self::NotFound | Self::Store(_) => false,
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
            other => Self::Store(other.to_string()),
        }
    }
}

/// What may be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PutLimits {
    kind: Kind,
    bytes: u64,
}

impl PutLimits {
    /// Images: 50 MB.
    #[must_use]
    pub fn image() -> Self {
        Self { kind: Kind::Image, bytes: 50_000_000 }
    }

    /// Videos: 2 GB.
    #[must_use]
    pub fn video() -> Self {
        Self { kind: Kind::Video, bytes: 2_000_000_000 }
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
    objects: Arc<dyn ObjectStore>,
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
        Ok(Self { objects: Arc::new(objects) })
    }

    /// Whether something can be stored now.
    ///
    /// # Errors
    /// When not.
    pub async fn probe(&self) -> Result<(), MediaError> {
        let path = ObjectPath::from(format!("staging/probe-{}", uuid::Uuid::new_v4().simple()));
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
        S: Stream<Item = std::io::Result<Bytes>> + Send + Unpin,
    {
        let staging = ObjectPath::from(format!("staging/{}", uuid::Uuid::new_v4().simple()));
        let stored = self.put_staged(key, &staging, source, limits).await;
        if let Err(error) = self.objects.delete(&staging).await
            && !matches!(error, object_store::Error::NotFound { .. })
        {
            tracing::warn!(%error, "a staging file was not removed");
        }
        stored
    }

    async fn put_staged<S>(
        &self,
        key: &MediaKey,
        staging: &ObjectPath,
        source: S,
        limits: PutLimits,
    ) -> Result<Stored, MediaError>
    where
        S: Stream<Item = std::io::Result<Bytes>> + Send + Unpin,
    {
        let copied = self.copy(staging, source, limits).await?;
        let content_type = copied.content_type;
        let found = match copied.image {
            None => Found::default(),
            Some(bytes) => tokio::task::spawn_blocking(move || probe::decode(content_type, &bytes))
                .await
                .map_err(|error| MediaError::Store(error.to_string()))?
                .map_err(MediaError::Unreadable)?,
        };
        self.objects.rename(staging, &path(key)).await?;
        Ok(Stored {
            key: key.clone(),
            content_type,
            bytes: copied.bytes,
            sha256: hex::encode(copied.sha256),
            width: found.width,
            height: found.height,
            duration_ms: found.duration_ms,
        })
    }

    async fn copy<S>(
        &self,
        to: &ObjectPath,
        mut source: S,
        limits: PutLimits,
    ) -> Result<Copied, MediaError>
    where
        S: Stream<Item = std::io::Result<Bytes>> + Send + Unpin,
    {
        let mut upload = self.objects.put_multipart(to).await?;
        let result = async {
            let mut part = BytesMut::new();
            let mut copied = Copying::new(limits);
            while let Some(bytes) = next(&mut source).await? {
                copied.take(&bytes)?;
                part.extend_from_slice(&bytes);
                if part.len() >= PART {
                    upload.put_part(part.split().freeze().into()).await?;
                }
            }
            let copied = copied.end()?;
            if !part.is_empty() {
                upload.put_part(part.freeze().into()).await?;
            }
            Ok(copied)
        }
        .await;
        match result {
            Ok(copied) => {
                upload.complete().await?;
                Ok(copied)
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
        let start = self.objects.get_range(&path, 0..bytes.min(16)).await?;
        let content_type =
            ContentType::sniff(&start).map_or("application/octet-stream", ContentType::mime);
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

    /// Deletes a file; one that is gone already is no error.
    ///
    /// # Errors
    /// When the name is bad or the store fails.
    pub async fn delete(&self, key: &str) -> Result<(), MediaError> {
        match self.objects.delete(&path(&key.parse()?)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes staging files that a crash left long before `now`.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn remove_stale(&self, now: entities::Timestamp) -> Result<usize, MediaError> {
        let mut removed = 0;
        let mut staged = self.objects.list(Some(&ObjectPath::from("staging")));
        while let Some(object) = staged.next().await {
            let object = object?;
            if now.since(object.last_modified.into()) > STALE {
                self.objects.delete(&object.location).await?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}

fn path(key: &MediaKey) -> ObjectPath {
    ObjectPath::from(key.as_str())
}

async fn next<S>(source: &mut S) -> Result<Option<Bytes>, MediaError>
where
    S: Stream<Item = std::io::Result<Bytes>> + Unpin,
{
    match tokio::time::timeout(SILENCE, source.next()).await {
        Err(_) => Err(MediaError::Source("it fell silent".into())),
        Ok(Some(Err(error))) => Err(MediaError::Source(error.to_string())),
        Ok(Some(Ok(bytes))) => Ok(Some(bytes)),
        Ok(None) => Ok(None),
    }
}

/// What is learnt of a file while it streams by.
struct Copying {
    limits: PutLimits,
    hash: Sha256,
    bytes: u64,
    start: BytesMut,
    content_type: Option<ContentType>,
    image: BytesMut,
}

struct Copied {
    content_type: ContentType,
    bytes: u64,
    sha256: [u8; 32],
    /// The whole file, if it is an image that has to be decoded.
    image: Option<Bytes>,
}

impl Copying {
    fn new(limits: PutLimits) -> Self {
        Self {
            limits,
            hash: Sha256::new(),
            bytes: 0,
            start: BytesMut::new(),
            content_type: None,
            image: BytesMut::new(),
        }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), MediaError> {
        self.bytes += bytes.len() as u64;
        if self.bytes > self.limits.bytes {
            return Err(MediaError::TooLarge(self.limits.bytes));
        }
        self.hash.update(bytes);
        if self.content_type.is_none() {
            self.start.extend_from_slice(bytes);
            if self.start.len() >= 16 {
                self.find_type()?;
            }
        } else if self.keeps() {
            self.image.extend_from_slice(bytes);
        }
        Ok(())
    }

    fn find_type(&mut self) -> Result<(), MediaError> {
        let found = ContentType::sniff(&self.start).filter(|found| found.fits(self.limits.kind));
        self.content_type = Some(found.ok_or(MediaError::WrongType)?);
        let start = self.start.split();
        if self.keeps() {
            self.image.unsplit(start);
        }
        Ok(())
    }

    /// Whether the bytes are kept for decoding: images, as far as their own limit allows.
    fn keeps(&self) -> bool {
        let image = !matches!(self.content_type, Some(ContentType::Mp4 | ContentType::Webm));
        image && self.bytes <= PutLimits::image().bytes
    }

    fn end(mut self) -> Result<Copied, MediaError> {
        if self.content_type.is_none() {
            self.find_type()?;
        }
        let content_type = self.content_type.ok_or(MediaError::WrongType)?;
        let keeps = self.keeps();
        Ok(Copied {
            content_type,
            bytes: self.bytes,
            sha256: self.hash.finalize().into(),
            image: keeps.then(|| self.image.freeze()),
        })
    }
}

#[cfg(test)]
mod tests;
