//! The store itself: a local folder, read, listed and deleted from through an `object_store`.
//!
//! | file | what |
//! |---|---|
//! | `put` | writing: checked, and visible only once whole and right |
//! | `place` | files that are written in one go |
//! | `copying` | what is learnt of a file while it streams by |
//! | `error` | why media could not be stored or read |

mod copying;
mod error;
mod place;
mod put;

use std::{
    io,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use entities::job::Kind;
pub use error::MediaError;
use futures::{StreamExt as _, TryStreamExt as _, stream::BoxStream};
use object_store::{
    ObjectStore, ObjectStoreExt as _, local::LocalFileSystem, path::Path as ObjectPath,
};
use tokio::sync::Semaphore;

use super::{ContentType, MediaKey, probe::START};

/// Staging files that nothing was written to for this long belong to nobody.
const STALE: Duration = Duration::from_secs(24 * 60 * 60);

/// Where files are while they are copied.
pub(super) const STAGING: &str = "staging";

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
    root: PathBuf,
    pub(super) staging: PathBuf,
    /// Pictures are decoded by no more at once than there are processors.
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
            root: folder.to_owned(),
            staging: folder.join(STAGING),
            decoders: Arc::new(Semaphore::new(decoders)),
        })
    }

    /// Whether something can be stored now.
    ///
    /// # Errors
    /// When not.
    pub async fn probe(&self) -> Result<(), MediaError> {
        let path = self.staging.join(format!("probe-{}", uuid::Uuid::new_v4().simple()));
        put::blocking(move || Ok(place::probe(&path)?)).await
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

    /// Whether there is such a file.
    ///
    /// # Errors
    /// When the name is bad or the store fails.
    pub async fn has(&self, key: &str) -> Result<bool, MediaError> {
        match self.objects.head(&path(&key.parse()?)).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
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

fn path(key: &MediaKey) -> ObjectPath {
    ObjectPath::from(key.as_str())
}

#[cfg(test)]
mod tests;
