//! Why media could not be stored or read.

use std::{error::Error, io, time::Duration};

use crate::{media::BadKey, net::FetchError};

/// Why media could not be stored or read.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    /// The bytes stopped coming. Worth another try.
    #[error("the source failed: {0}")]
    Source(String),
    /// Its place is busy, and says when to ask again.
    #[error("its place is busy for {} s", .0.as_secs())]
    Busy(Duration),
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
            Self::Source(_) | Self::Busy(_) | Self::NotFound | Self::Full | Self::Store(_) => false,
        }
    }
}

impl From<FetchError> for MediaError {
    fn from(error: FetchError) -> Self {
        match error {
            FetchError::Forbidden(_) => Self::Forbidden(error.to_string()),
            FetchError::TooLarge(bytes) => Self::TooLarge(bytes),
            FetchError::Failed(text) => Self::Source(text),
            FetchError::Busy(wait) => Self::Busy(wait),
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

impl From<io::Error> for MediaError {
    fn from(error: io::Error) -> Self {
        if is_full(&error) { Self::Full } else { Self::Store(error.to_string()) }
    }
}

/// Whether the disk, or our share of it, is used up.
fn is_full(error: &(dyn Error + 'static)) -> bool {
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
