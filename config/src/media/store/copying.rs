//! What is learnt of a file while it streams by: size, checksum, type, and what its type needs to be
//! checked at the end.

use bytes::{Bytes, BytesMut};
use sha2::{Digest as _, Sha256};

use super::{MediaError, PutLimits};
use crate::media::{ContentType, boxes::Boxes, ebml, probe::START};

pub(super) struct Copying {
    limits: PutLimits,
    hash: Sha256,
    bytes: u64,
    start: BytesMut,
    known: Option<(ContentType, Keeping)>,
}

/// What a type's check needs.
enum Keeping {
    Image(BytesMut),
    Mp4(Boxes),
    Webm(BytesMut),
}

pub(super) struct Copied {
    pub(super) content_type: ContentType,
    pub(super) bytes: u64,
    pub(super) sha256: [u8; 32],
    pub(super) kept: Kept,
}

/// What is left to be checked.
pub(super) enum Kept {
    /// The whole file.
    Image(Bytes),
    Mp4(Boxes),
    /// The beginning of the file.
    Webm(Bytes),
}

/// Looks at the bytes of a file as they stream by.
pub(super) trait Watch: Send {
    /// What was seen.
    type Seen: Send;

    fn take(&mut self, bytes: &[u8]) -> Result<(), MediaError>;

    fn end(self) -> Result<Self::Seen, MediaError>;
}

/// Counts only.
pub(super) struct Uninspected(pub(super) u64);

impl Watch for Uninspected {
    type Seen = u64;

    fn take(&mut self, bytes: &[u8]) -> Result<(), MediaError> {
        self.0 += bytes.len() as u64;
        Ok(())
    }

    fn end(self) -> Result<u64, MediaError> {
        Ok(self.0)
    }
}

impl Copying {
    pub(super) fn new(limits: PutLimits) -> Self {
        Self { limits, hash: Sha256::new(), bytes: 0, start: BytesMut::new(), known: None }
    }

    fn find_type(&mut self) -> Result<(), MediaError> {
        let found = ContentType::sniff(&self.start).filter(|found| found.fits(self.limits.kind));
        let content_type = found.ok_or(MediaError::WrongType)?;
        let mut keeping = match content_type {
            ContentType::Png | ContentType::Jpeg | ContentType::Webp | ContentType::Gif => {
                Keeping::Image(BytesMut::new())
            }
            ContentType::Mp4 => Keeping::Mp4(Boxes::default()),
            ContentType::Webm => Keeping::Webm(BytesMut::new()),
        };
        keeping.take(&self.start.split())?;
        self.known = Some((content_type, keeping));
        Ok(())
    }
}

impl Watch for Copying {
    type Seen = Copied;

    fn take(&mut self, bytes: &[u8]) -> Result<(), MediaError> {
        self.bytes += bytes.len() as u64;
        if self.bytes > self.limits.bytes {
            return Err(MediaError::TooLarge(self.limits.bytes));
        }
        self.hash.update(bytes);
        match &mut self.known {
            Some((_, keeping)) => keeping.take(bytes)?,
            None => {
                self.start.extend_from_slice(bytes);
                if self.start.len() >= START {
                    self.find_type()?;
                }
            }
        }
        Ok(())
    }

    fn end(mut self) -> Result<Copied, MediaError> {
        if self.known.is_none() {
            self.find_type()?;
        }
        let (content_type, keeping) = self.known.ok_or(MediaError::WrongType)?;
        let kept = match keeping {
            Keeping::Image(all) => Kept::Image(all.freeze()),
            Keeping::Mp4(boxes) => Kept::Mp4(boxes),
            Keeping::Webm(head) => Kept::Webm(head.freeze()),
        };
        Ok(Copied { content_type, bytes: self.bytes, sha256: self.hash.finalize().into(), kept })
    }
}

impl Keeping {
    fn take(&mut self, bytes: &[u8]) -> Result<(), MediaError> {
        match self {
            Self::Image(all) => {
                // It is decoded in memory, so that a GIF that is sold as a film is bounded as well.
                let most = PutLimits::image().bytes;
                if (all.len() + bytes.len()) as u64 > most {
                    return Err(MediaError::TooLarge(most));
                }
                all.extend_from_slice(bytes);
            }
            Self::Mp4(boxes) => boxes.take(bytes),
            Self::Webm(head) => {
                let room = ebml::HEAD.saturating_sub(head.len()).min(bytes.len());
                head.extend_from_slice(&bytes[..room]);
            }
        }
        Ok(())
    }
}
