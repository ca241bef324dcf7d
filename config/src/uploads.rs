//! Taking in media that users hand in: as a stream of bytes, as a `data:` URI, as a URL, or as the
//! id of an earlier upload.
//!
//! Every way ends in the same checks (type sniffed, picture decoded, size and pixels capped) and in
//! one row with one object. What can fail is in [`TakeError`]; nothing is left behind then.

use std::{io, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use entities::{
    Timestamp,
    ids::{UploadId, WorkspaceId},
    tables,
    uploads::{self, Arrived, NewUpload},
};
use futures::{Stream, StreamExt as _};
use sea_orm::DbErr;

use crate::{
    context::Context,
    media::{MediaError, MediaKey, PutLimits},
    net::{FetchLimits, GuardedError},
};

/// How long a URL may take.
const FETCH: Duration = Duration::from_secs(15);

/// What a URL's server may call a picture.
const TYPES: [&str; 3] = ["image/", "application/octet-stream", "binary/octet-stream"];

/// Why media was not taken. The words are for the user who gave it.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    /// Not a way to give media.
    #[error("must be an https URL, a data: URI or the id of an upload")]
    NotMedia,
    /// A `data:` URI that cannot be read.
    #[error("is not a data: URI with base64")]
    BadData,
    /// There is no such upload, or not for this user.
    #[error("is not one of your uploads, or it has expired")]
    NoUpload,
    /// The URL was not fetched.
    #[error(transparent)]
    Fetch(#[from] GuardedError),
    /// It is not a picture that is taken.
    #[error("{0}")]
    Media(#[from] MediaError),
    /// The database failed.
    #[error("the database failed: {0}")]
    Db(#[from] DbErr),
}

impl TakeError {
    /// Whether another input would help: it is the user's, not the platform's.
    #[must_use]
    pub fn is_users(&self) -> bool {
        match self {
            Self::NotMedia | Self::BadData | Self::NoUpload | Self::Fetch(_) => true,
            // A source is the client's connection.
            Self::Media(error) => error.is_final() || matches!(error, MediaError::Source(_)),
            Self::Db(_) => false,
        }
    }
}

/// Who hands something in, and how long it is kept.
#[derive(Debug, Clone, Copy)]
pub struct Owner {
    /// Whose it is.
    pub workspace_id: WorkspaceId,
    /// It comes with a job and goes with it.
    pub made_for_job: bool,
    /// When it is deleted.
    pub expires_at: Timestamp,
}

/// Stores what a stream brings as an upload.
///
/// # Errors
/// See [`TakeError`].
pub async fn store<S>(
    context: &Context,
    owner: Owner,
    source: S,
) -> Result<tables::uploads::Model, TakeError>
where
    S: Stream<Item = io::Result<Bytes>> + Send + Unpin,
{
    let id = UploadId::generate();
    let key = MediaKey::upload(id);
    let new = NewUpload {
        id,
        workspace_id: owner.workspace_id,
        key: key.to_string(),
        made_for_job: owner.made_for_job,
        created_at: context.clock.now(),
    };
    uploads::begin(context.db.write(), &new).await?;
    let stored = match context.media.put(&key, source, PutLimits::upload()).await {
        Ok(stored) => stored,
        Err(error) => {
            give_up(context, &[id]).await;
            return Err(error.into());
        }
    };
    let found = Arrived {
        content_type: stored.content_type.mime().to_owned(),
        bytes: stored.bytes,
        sha256: stored.sha256,
        width: stored.width,
        height: stored.height,
        expires_at: owner.expires_at,
    };
    match uploads::arrived(context.db.write(), id, &found, context.clock.now()).await? {
        Some(upload) => Ok(upload),
        None => Err(TakeError::NoUpload),
    }
}

/// What was taken for a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// The upload.
    pub id: UploadId,
    /// It was made for this job, so it must be given up if the job is not accepted.
    pub is_new: bool,
    /// Its size.
    pub bytes: u64,
}

/// Turns what a user wrote into an upload of the user's own.
///
/// # Errors
/// See [`TakeError`].
pub async fn take(context: &Context, owner: Owner, text: &str) -> Result<Taken, TakeError> {
    if text.starts_with("upload_") {
        let id = text.parse().map_err(|_| TakeError::NoUpload)?;
        let now = context.clock.now();
        let found = uploads::usable(context.db.read(), owner.workspace_id, id, now).await?;
        let taken = |found| Taken { id, is_new: false, bytes: size(&found) };
        return found.map(taken).ok_or(TakeError::NoUpload);
    }
    let scheme = text.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase());
    let bytes = match scheme.as_deref() {
        Some("data") => data(text)?,
        // Plain HTTP is refused where it is not allowed for an address of its own.
        Some("https" | "http") => {
            let limits =
                FetchLimits { time: FETCH, bytes: PutLimits::upload().bytes(), types: &TYPES };
            context.guarded.fetch(text, true, limits).await?
        }
        _ => return Err(TakeError::NotMedia),
    };
    let source = futures::stream::once(async { Ok(bytes) }).boxed();
    let upload = store(context, owner, source).await?;
    Ok(Taken { id: upload.id, is_new: true, bytes: size(&upload) })
}

fn size(upload: &tables::uploads::Model) -> u64 {
    u64::try_from(upload.bytes).unwrap_or(0)
}

/// Deletes uploads that no job came to use. What fails here is found again when they expire.
pub async fn give_up(context: &Context, ids: &[UploadId]) {
    let (ids, now) = (ids.to_vec(), context.clock.now());
    let key = ids.first().map_or(uuid::Uuid::nil(), |id| id.0);
    let marked = context
        .writer
        .run(key, move |tx| {
            let ids = ids.clone();
            Box::pin(async move { uploads::give_up(tx, &ids, now).await })
        })
        .await;
    match marked {
        Ok(keys) => {
            for key in keys {
                if let Err(error) = context.media.delete(&key).await {
                    tracing::warn!(%error, key, "an unused upload was not deleted; it comes round again");
                }
            }
        }
        Err(error) => tracing::warn!(%error, "unused uploads were not deleted; they will expire"),
    }
}

/// The bytes of `data:image/png;base64,…` (RFC 2397).
fn data(uri: &str) -> Result<Bytes, TakeError> {
    let rest = uri.get(5..).ok_or(TakeError::BadData)?;
    let (head, body) = rest.split_once(',').ok_or(TakeError::BadData)?;
    let mut parts = head.rsplit(';');
    if !parts.next().is_some_and(|last| last.trim().eq_ignore_ascii_case("base64")) {
        return Err(TakeError::BadData);
    }
    STANDARD.decode(body.trim()).map(Bytes::from).map_err(|_| TakeError::BadData)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_uris_are_read() {
        assert_eq!(data("data:image/png;base64,YWJj").unwrap(), "abc");
        assert_eq!(data("DATA:image/png;charset=x;Base64,YWJj").unwrap(), "abc");
        assert_eq!(data("data:;base64,").unwrap(), "");
        for bad in [
            "data:",
            "data:image/png,abc",
            "data:image/png;base64",
            "data:;base64,a b",
            "data:;base64,***",
        ] {
            assert!(matches!(data(bad), Err(TakeError::BadData)), "{bad}");
        }
    }
}
