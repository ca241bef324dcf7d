//! What a file really is: the type is found in its first bytes, whatever its sender says. Images
//! are decoded, so that a broken one is not sold; films are only read, not played.

use std::{io::Cursor, time::Duration};

use entities::job::Kind;
use image::{
    AnimationDecoder as _, DynamicImage, ImageDecoder as _, ImageFormat, ImageReader, Limits,
    metadata::Orientation,
};

use super::{
    ebml,
    thumbnail::{self, Small},
    whole,
};

/// So many first bytes tell the type.
pub(super) const START: usize = 64;

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
            start.get(8..12).filter(|brand| is_mp4(brand)).map(|_| Self::Mp4)
        } else if ebml::is_webm(start) {
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

/// Whether a file of this brand is a film. Pictures (AVIF, HEIC) and QuickTime have the same boxes.
fn is_mp4(brand: &[u8]) -> bool {
    const BRANDS: [&[u8]; 8] = [b"iso", b"mp4", b"avc1", b"M4V", b"dash", b"MSNV", b"mmp4", b"cmf"];
    BRANDS.iter().any(|known| brand.starts_with(known))
}

/// What was found in a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) width: Option<u32>,
    pub(super) height: Option<u32>,
    pub(super) duration_ms: Option<u64>,
}

/// Decodes an image completely, and makes its thumbnail if one is wanted and it is not small
/// itself. A thumbnail that fails is none. Takes a while: not on an async thread.
pub(super) fn decode(
    content_type: ContentType,
    bytes: &[u8],
    wants_thumbnail: bool,
) -> Result<(Found, Option<Small>), String> {
    let Some(format) = content_type.image_format() else {
        return Ok((Found::default(), None));
    };
    if !whole::is_whole(content_type, bytes) {
        return Err("the file is cut off".to_owned());
    }
    let wrong = |error: image::ImageError| error.to_string();
    let (width, height) =
        ImageReader::with_format(Cursor::new(bytes), format).into_dimensions().map_err(wrong)?;
    if width == 0 || height == 0 || u64::from(width) * u64::from(height) > PIXELS {
        return Err(format!("{width} x {height} pixels are out of bounds"));
    }
    let (duration_ms, picture, orientation) = match content_type {
        ContentType::Gif => {
            let (duration, first) = frames(bytes)?;
            (Some(duration), first, Orientation::NoTransforms)
        }
        ContentType::Png
        | ContentType::Jpeg
        | ContentType::Webp
        | ContentType::Mp4
        | ContentType::Webm => {
            let mut limits = limits();
            let reader = ImageReader::with_format(Cursor::new(bytes), format);
            let mut decoder = reader.into_decoder().map_err(wrong)?;
            limits.reserve(decoder.total_bytes()).map_err(wrong)?;
            decoder.set_limits(limits).map_err(wrong)?;
            let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
            let picture = DynamicImage::from_decoder(decoder).map_err(wrong)?;
            (None, Some(picture), orientation)
        }
    };
    let small = match picture.filter(|_| wants_thumbnail) {
        None => None,
        Some(picture) => thumbnail::of(&picture, orientation).unwrap_or_else(|error| {
            tracing::warn!(%error, "a picture has no thumbnail");
            None
        }),
    };
    Ok((Found { width: Some(width), height: Some(height), duration_ms }, small))
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_alloc = Some(PIXELS * 8);
    limits
}

/// How long it plays, in milliseconds, and its first frame.
fn frames(bytes: &[u8]) -> Result<(u64, Option<DynamicImage>), String> {
    let wrong = |error: image::ImageError| error.to_string();
    let decoder = image::codecs::gif::GifDecoder::new(Cursor::new(bytes)).map_err(wrong)?;
    let (mut total, mut first) = (Duration::ZERO, None);
    for frame in decoder.into_frames() {
        let frame = frame.map_err(wrong)?;
        total += Duration::from(frame.delay());
        if first.is_none() {
            first = Some(DynamicImage::ImageRgba8(frame.into_buffer()));
        }
    }
    Ok((u64::try_from(total.as_millis()).unwrap_or(u64::MAX), first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_told_by_the_first_bytes() {
        let brand = |brand: &[u8]| [b"\0\0\0\x18ftyp", brand, b"\0\0\0\0isomiso2"].concat();
        for mp4 in [b"isom", b"iso5", b"mp42", b"avc1", b"M4V ", b"dash"] {
            assert_eq!(ContentType::sniff(&brand(mp4)), Some(ContentType::Mp4));
        }
        for other in [b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1", b"qt  ", b"crx "] {
            assert_eq!(ContentType::sniff(&brand(other)), None);
        }
        let film = |doc_type| ContentType::sniff(&ebml::tests::film(doc_type)[..START]);
        assert_eq!(film(b"webm"), Some(ContentType::Webm));
        assert_eq!(film(b"matroska"), None);
    }
}
