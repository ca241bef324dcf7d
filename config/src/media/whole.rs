//! Whether a picture's file has its end: decoders forgive a missing tail, a buyer does not.

use super::ContentType;

/// Whether the last part of the format is there.
pub(super) fn is_whole(content_type: ContentType, bytes: &[u8]) -> bool {
    match content_type {
        ContentType::Jpeg => jpeg(bytes),
        ContentType::Png => png(bytes),
        ContentType::Webp => webp(bytes),
        ContentType::Gif => gif(bytes),
        // Their boxes are followed while they stream by.
        ContentType::Mp4 | ContentType::Webm => true,
    }
}

/// From marker to marker up to EOI. A thumbnail's own end lies inside a segment and does not count.
fn jpeg(bytes: &[u8]) -> bool {
    let mut at = 2;
    loop {
        let (Some(0xff), Some(marker)) = (bytes.get(at), bytes.get(at + 1)) else { return false };
        match marker {
            // Fill bytes.
            0xff => at += 1,
            0xd9 => return true,
            // Markers that stand alone, and what is no marker within a scan.
            0x00 | 0x01 | 0xd0..=0xd7 => at += 2,
            _ => {
                let Some(length) = bytes.get(at + 2..at + 4) else { return false };
                at += 2 + usize::from(u16::from_be_bytes([length[0], length[1]]));
            }
        }
        // The entropy-coded bytes after a scan's header, up to the next marker.
        if matches!(marker, 0xda | 0x00 | 0xd0..=0xd7) {
            let Some(more) = bytes.get(at..).and_then(|rest| rest.iter().position(|b| *b == 0xff))
            else {
                return false;
            };
            at += more;
        }
    }
}

/// From chunk to chunk up to the end of IEND.
fn png(bytes: &[u8]) -> bool {
    let mut at = 8_usize;
    loop {
        let Some(head) = bytes.get(at..at.saturating_add(8)) else { return false };
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
        let Ok(length) = usize::try_from(length) else { return false };
        at = at.saturating_add(length).saturating_add(12);
        if at > bytes.len() {
            return false;
        }
        if &head[4..] == b"IEND" {
            return true;
        }
    }
}

/// The container says how long it is.
fn webp(bytes: &[u8]) -> bool {
    let Some(length) = bytes.get(4..8) else { return false };
    let length = u32::from_le_bytes([length[0], length[1], length[2], length[3]]);
    u64::from(length) + 8 <= bytes.len() as u64
}

/// From block to block up to the trailer.
fn gif(bytes: &[u8]) -> bool {
    let table = |flags: u8| if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) };
    let Some(flags) = bytes.get(10) else { return false };
    let mut at = 13 + table(*flags);
    loop {
        match bytes.get(at) {
            Some(0x3b) => return true,
            Some(0x21) => at += 2,
            Some(0x2c) => {
                let Some(flags) = bytes.get(at + 9) else { return false };
                at += 11 + table(*flags);
            }
            _ => return false,
        }
        // The sub-blocks: each begins with its length, and an empty one ends them.
        loop {
            let Some(length) = bytes.get(at) else { return false };
            at += 1 + usize::from(*length);
            if *length == 0 {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use image::{DynamicImage, Frame, ImageFormat, Rgb, RgbImage, codecs::gif::GifEncoder};

    use super::*;

    fn picture() -> DynamicImage {
        RgbImage::from_fn(40, 30, |x, y| {
            Rgb([u8::try_from(x * 6).unwrap(), u8::try_from(y * 8).unwrap(), 90])
        })
        .into()
    }

    fn encoded(format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        picture().write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    fn film() -> Vec<u8> {
        let mut bytes = Vec::new();
        let frames = (0..3).map(|_| Frame::new(picture().to_rgba8()));
        GifEncoder::new(&mut bytes).encode_frames(frames).unwrap();
        bytes
    }

    #[test]
    fn only_a_whole_file_is_whole() {
        let files = [
            (ContentType::Jpeg, encoded(ImageFormat::Jpeg)),
            (ContentType::Png, encoded(ImageFormat::Png)),
            (ContentType::Webp, encoded(ImageFormat::WebP)),
            (ContentType::Gif, encoded(ImageFormat::Gif)),
            (ContentType::Gif, film()),
        ];
        for (kind, bytes) in files {
            assert!(is_whole(kind, &bytes), "{kind:?}");
            assert!(is_whole(kind, &[&bytes[..], b"\0\0"].concat()), "{kind:?} with padding");
            for length in 0..bytes.len() {
                assert!(!is_whole(kind, &bytes[..length]), "{kind:?} {length} of {}", bytes.len());
            }
        }
    }

    /// The end of a thumbnail in the metadata is not the end of the picture.
    #[test]
    fn a_thumbnails_end_does_not_count() {
        let bytes = encoded(ImageFormat::Jpeg);
        let thumbnail = [b"\xff\xe1\x00\x06\xff\xd8\xff\xd9", &bytes[2..]].concat();
        let whole = [b"\xff\xd8", &thumbnail[..]].concat();
        assert!(is_whole(ContentType::Jpeg, &whole));
        assert!(!is_whole(ContentType::Jpeg, &whole[..whole.len() - 2]));
    }
}
