//! Writing files: streamed, checked, and visible only once they are whole and right.
//!
//! What is small is kept in memory until it is checked, and then written in one go (`place`); what
//! is larger streams to a staging object, is checked there, and moves to its key in one step. Both
//! are flushed to disk before they count.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt as _};
use object_store::{MultipartUpload, ObjectStoreExt as _, path::Path as ObjectPath};

use super::{
    MediaError, MediaStore, PutLimits, STAGING, Stored, Thumbnail,
    copying::{Copied, Copying, Kept, Uninspected, Watch},
    path, place,
};
use crate::media::{
    MediaKey, ebml,
    probe::{self, Found},
    thumbnail::Small,
};

/// A part of a multipart upload; at most this much of a file is in memory, images apart.
const PART: usize = 4 * 1024 * 1024;

/// A source that sends nothing for this long has failed.
const SILENCE: Duration = Duration::from_secs(60);

/// What was received of a file.
enum Received {
    /// All of it, in memory.
    Whole(Bytes),
    /// It is in the staging object.
    Staged,
}

/// Where a file is written in one go.
struct Place {
    staging: PathBuf,
    to: PathBuf,
    root: PathBuf,
}

impl Place {
    fn write(&self, bytes: &[u8]) -> Result<(), MediaError> {
        Ok(place::write(&self.staging, &self.to, &self.root, bytes)?)
    }
}

impl MediaStore {
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
        let (seen, received) = self.receive(&staging, source, Copying::new(limits)).await?;
        let (bytes, content_type, sha256) = (seen.bytes, seen.content_type, seen.sha256);
        let (found, thumbnail) = match received {
            Received::Whole(whole) => self.write_whole(key, whole, seen, limits.thumbnail).await?,
            Received::Staged => {
                let stored = self.publish(key, &staging, seen, limits.thumbnail).await;
                // A file that is stored was moved away from there.
                if stored.is_err() {
                    self.clear(&staging).await;
                }
                stored?
            }
        };
        Ok(Stored {
            key: key.clone(),
            content_type,
            bytes,
            sha256: hex::encode(sha256),
            width: found.width,
            height: found.height,
            duration_ms: found.duration_ms,
            thumbnail,
        })
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
        let (bytes, received) = self.receive(&staging, source, Uninspected(0)).await?;
        match received {
            Received::Whole(whole) => {
                let place = self.place(key);
                blocking(move || place.write(&whole)).await?;
            }
            Received::Staged => {
                if let Err(error) = self.objects.rename(&staging, &path(key)).await {
                    self.clear(&staging).await;
                    return Err(error.into());
                }
            }
        }
        Ok(bytes)
    }

    fn place(&self, key: &MediaKey) -> Place {
        let name = staging_name(key);
        Place {
            staging: self.staging.join(name),
            to: self.root.join(key.as_str()),
            root: self.root.clone(),
        }
    }

    /// Checks a small file and writes it with its thumbnail.
    async fn write_whole(
        &self,
        key: &MediaKey,
        whole: Bytes,
        seen: Copied,
        wants_thumbnail: bool,
    ) -> Result<(Found, Option<Thumbnail>), MediaError> {
        let place = self.place(key);
        let small_place = key.thumbnail().map(|key| self.place(&key));
        let turn = self.turn().await?;
        blocking(move || {
            // Held to the end of the check, also when nobody waits for it any more.
            let checked = check(seen, wants_thumbnail);
            drop(turn);
            let (found, small) = checked?;
            place.write(&whole)?;
            let thumbnail = small.zip(small_place).and_then(|(small, place)| keep(&small, &place));
            Ok((found, thumbnail))
        })
        .await
    }

    /// Checks a large file, which is staged, and moves it to its key; then stores its thumbnail.
    async fn publish(
        &self,
        key: &MediaKey,
        staging: &ObjectPath,
        seen: Copied,
        wants_thumbnail: bool,
    ) -> Result<(Found, Option<Thumbnail>), MediaError> {
        let turn = self.turn().await?;
        let checked = blocking(move || {
            let _turn = turn;
            check(seen, wants_thumbnail)
        });
        let (found, small) = checked.await?;
        self.objects.rename(staging, &path(key)).await?;
        let thumbnail = match small.zip(key.thumbnail()) {
            None => None,
            Some((small, key)) => {
                let place = self.place(&key);
                blocking(move || Ok(keep(&small, &place))).await?
            }
        };
        Ok((found, thumbnail))
    }

    /// A decoded picture takes up to half a gigabyte: they take turns.
    async fn turn(&self) -> Result<tokio::sync::OwnedSemaphorePermit, MediaError> {
        let turn = Arc::clone(&self.decoders).acquire_owned().await;
        turn.map_err(|error| MediaError::Store(error.to_string()))
    }

    async fn clear(&self, staging: &ObjectPath) {
        if let Err(error) = self.objects.delete(staging).await
            && !matches!(error, object_store::Error::NotFound { .. })
        {
            tracing::warn!(%error, "a staging file was not removed");
        }
    }

    /// Takes the bytes of a source, and watches them go by. Nothing is left behind when it fails.
    async fn receive<S, W: Watch>(
        &self,
        to: &ObjectPath,
        mut source: S,
        mut watch: W,
    ) -> Result<(W::Seen, Received), MediaError>
    where
        S: Stream<Item = io::Result<Bytes>> + Send + Unpin,
    {
        let mut part = BytesMut::new();
        while let Some(bytes) = next(&mut source).await? {
            watch.take(&bytes)?;
            part.extend_from_slice(&bytes);
            if part.len() >= PART {
                let upload = self.objects.put_multipart(to).await?;
                return match stream(upload, part, source, watch).await {
                    Ok(seen) => Ok((seen, Received::Staged)),
                    Err(error) => {
                        self.clear(to).await;
                        Err(error)
                    }
                };
            }
        }
        Ok((watch.end()?, Received::Whole(part.freeze())))
    }
}

/// The rest of a source, after its first part.
async fn stream<S, W: Watch>(
    mut upload: Box<dyn MultipartUpload>,
    mut part: BytesMut,
    mut source: S,
    mut watch: W,
) -> Result<W::Seen, MediaError>
where
    S: Stream<Item = io::Result<Bytes>> + Send + Unpin,
{
    let result = async {
        upload.put_part(part.split().freeze().into()).await?;
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

/// What the whole of a file says: its size in pixels and in time, and a thumbnail.
fn check(seen: Copied, wants_thumbnail: bool) -> Result<(Found, Option<Small>), MediaError> {
    let read = match seen.kept {
        Kept::Image(bytes) => probe::decode(seen.content_type, &bytes, wants_thumbnail),
        Kept::Mp4(boxes) => boxes.finish().map(|found| (found, None)),
        Kept::Webm(head) => ebml::read(&head, seen.bytes).map(|found| (found, None)),
    };
    read.map_err(MediaError::Unreadable)
}

/// Stores a thumbnail, whole or not at all. Without one a picture is as good.
fn keep(small: &Small, place: &Place) -> Option<Thumbnail> {
    let stored = Thumbnail {
        content_type: small.content_type,
        bytes: small.bytes.len() as u64,
        width: small.width,
        height: small.height,
    };
    match place.write(&small.bytes) {
        Ok(()) => Some(stored),
        Err(error) => {
            tracing::warn!(%error, "a thumbnail was not stored");
            None
        }
    }
}

/// Does work that blocks.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, MediaError> + Send + 'static,
) -> Result<T, MediaError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| MediaError::Store(error.to_string()))?
}

/// A name for a file while it is copied. It tells whose it is, so that what a crash leaves can be
/// removed with its owner.
fn staging_name(key: &MediaKey) -> String {
    let name = key.as_str().replace('/', "=");
    format!("{name}={}", uuid::Uuid::new_v4().simple())
}

fn staging(key: &MediaKey) -> ObjectPath {
    ObjectPath::from(format!("{STAGING}/{}", staging_name(key)))
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
