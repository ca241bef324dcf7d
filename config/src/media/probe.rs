//! What a file really is: the type is found in its first bytes, whatever its sender says. Images
//! are decoded, so that a broken one is not sold.

use std::{io::Cursor, time::Duration};

use entities::job::Kind;
use image::{AnimationDecoder as _, ImageFormat, ImageReader, Limits};

/// The most pixels of a picture: a small file can unfold to a huge one.
const PIXELS: u64 = 64_000_000;

/// A type of media that is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentType {
    /// image/png
    Png,
    /// image/jpeg
    Jpeg,
    /// image/webp
    Webp,
    /// image/gif
    Gif,
    /// video/mp4
    Mp4,
    /// video/webm
    Webm,
}

impl ContentType {
    /// The MIME type.
    #[must_use]
    pub fn mime(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::Webp => "image/webp",
            Self::Gif => "image/gif",
            Self::Mp4 => "video/mp4",
            Self::Webm => "video/webm",
        }
    }

    /// What a file's first bytes say.
    #[must_use]
    pub fn sniff(start: &[u8]) -> Option<Self> {
        let at = |from: usize, bytes: &[u8]| start.get(from..from + bytes.len()) == Some(bytes);
        if at(0, b"\x89PNG\r\n\x1a\n") {
            Some(Self::Png)
        } else if at(0, b"\xff\xd8\xff") {
            Some(Self::Jpeg)
        } else if at(0, b"RIFF") && at(8, b"WEBP") {
            Some(Self::Webp)
        } else if at(0, b"GIF87a") || at(0, b"GIF89a") {
            Some(Self::Gif)
        } else if at(4, b"ftyp") {
            Some(Self::Mp4)
        } else if at(0, b"\x1a\x45\xdf\xa3") {
            Some(Self::Webm)
        } else {
            None
        }
    }

    /// Whether a model of this kind may deliver it. A GIF moves, so it can be a video.
    #[must_use]
    pub fn fits(self, kind: Kind) -> bool {
        match self {
            Self::Png | Self::Jpeg | Self::Webp => kind == Kind::Image,
            Self::Gif => true,
            Self::Mp4 | Self::Webm => kind == Kind::Video,
        }
    }

    fn image_format(self) -> Option<ImageFormat> {
        match self {
            Self::Png => Some(ImageFormat::Png),
            Self::Jpeg => Some(ImageFormat::Jpeg),
            Self::Webp => Some(ImageFormat::WebP),
            Self::Gif => Some(ImageFormat::Gif),
            Self::Mp4 | Self::Webm => None,
        }
    }
}

/// What was found in a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) width: Option<u32>,
    pub(super) height: Option<u32>,
    pub(super) duration_ms: Option<u64>,
}

/// Decodes an image completely. Takes a while: not on an async thread.
pub(super) fn decode(content_type: ContentType, bytes: &[u8]) -> Result<Found, String> {
    let Some(format) = content_type.image_format() else {
        return Ok(Found::default());
    };
    let wrong = |error: image::ImageError| error.to_string();
    let (width, height) =
        ImageReader::with_format(Cursor::new(bytes), format).into_dimensions().map_err(wrong)?;
    if width == 0 || height == 0 || u64::from(width) * u64::from(height) > PIXELS {
        return Err(format!("{width} x {height} pixels are out of bounds"));
    }
    let duration_ms = match content_type {
        ContentType::Gif => Some(gif_duration(bytes)?),
        ContentType::Png
        | ContentType::Jpeg
        | ContentType::Webp
        | ContentType::Mp4
        | ContentType::Webm => {
            let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
            reader.limits(limits());
            reader.decode().map_err(wrong)?;
            None
        }
    };
    Ok(Found { width: Some(width), height: Some(height), duration_ms })
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_alloc = Some(PIXELS * 8);
    limits
}

fn gif_duration(bytes: &[u8]) -> Result<u64, String> {
    let wrong = |error: image::ImageError| error.to_string();
    let decoder = image::codecs::gif::GifDecoder::new(Cursor::new(bytes)).map_err(wrong)?;
    let mut total = Duration::ZERO;
    for frame in decoder.into_frames() {
        total += Duration::from(frame.map_err(wrong)?.delay());
    }
    Ok(u64::try_from(total.as_millis()).unwrap_or(u64::MAX))
}
