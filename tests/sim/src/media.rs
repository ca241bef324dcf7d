//! Real files, small and made on the spot: what a service delivers must survive being decoded.

use std::io::Cursor;

use bytes::Bytes;
use image::{
    Delay, DynamicImage, Frame, ImageFormat, ImageResult, Rgb, RgbImage, codecs::gif::GifEncoder,
};
use sha2::{Digest as _, Sha256};

/// A file and its type.
#[derive(Debug, Clone)]
pub struct Media {
    /// The MIME type.
    pub content_type: &'static str,
    /// The file's extension.
    pub extension: &'static str,
    /// The file.
    pub bytes: Bytes,
}

/// A picture of a gradient in the colours of its text; black if it was censored.
///
/// # Errors
/// When the size is none.
pub fn picture(text: &str, width: u32, height: u32, jpeg: bool, black: bool) -> ImageResult<Media> {
    let image = DynamicImage::ImageRgb8(gradient(text, width, height, 0, black));
    let (format, content_type, extension) = match jpeg {
        true => (ImageFormat::Jpeg, "image/jpeg", "jpg"),
        false => (ImageFormat::Png, "image/png", "png"),
    };
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format)?;
    Ok(Media { content_type, extension, bytes: bytes.into_inner().into() })
}

/// A film of a few frames, as a GIF.
///
/// # Errors
/// When it cannot be encoded.
pub fn film(text: &str, seconds: u32) -> ImageResult<Media> {
    let mut bytes = Vec::new();
    let mut encoder = GifEncoder::new(&mut bytes);
    for step in 0..seconds.clamp(1, 20) * 2 {
        let mut frame = gradient(text, 48, 32, step * 20, false);
        // As few colours as a GIF can have: to choose among more takes longer than all the rest.
        for tone in frame.iter_mut() {
            *tone &= 0xf0;
        }
        let frame = DynamicImage::ImageRgb8(frame).to_rgba8();
        encoder.encode_frame(Frame::from_parts(frame, 0, 0, Delay::from_numer_denom_ms(500, 1)))?;
    }
    drop(encoder);
    Ok(Media { content_type: "image/gif", extension: "gif", bytes: bytes.into() })
}

fn gradient(text: &str, width: u32, height: u32, shift: u32, black: bool) -> RgbImage {
    let hash = Sha256::digest(text);
    RgbImage::from_fn(width, height, |x, y| {
        if black {
            return Rgb([0, 0, 0]);
        }
        let tone = |n: usize, part: u32, whole: u32| {
            let moved = (part * 255 / whole.max(1) + shift + u32::from(hash[n])) % 256;
            u8::try_from(moved).unwrap_or(0)
        };
        Rgb([tone(0, x, width), tone(1, y, height), hash[2]])
    })
}
