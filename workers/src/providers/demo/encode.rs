//! From pixels to files: PNG, JPEG, lossless WebP, and an animated GIF for clips.
//!
//! A GIF because every browser shows it in an `<img>` and it needs no outside encoder.

use bytes::Bytes;
use image::{
    Delay, DynamicImage, Frame, ImageEncoder, ImageResult, RgbImage,
    codecs::{
        gif::{GifEncoder, Repeat},
        jpeg::JpegEncoder,
        png::PngEncoder,
        webp::WebPEncoder,
    },
};

use super::{art::Film, input::Format};

/// About this many hundredths of a second for each frame.
const FRAME: u32 = 8;

/// Encodes a picture.
pub(super) fn still(picture: RgbImage, format: Format) -> ImageResult<Bytes> {
    let mut bytes = Vec::new();
    let picture = DynamicImage::ImageRgb8(picture);
    let (width, height, colour) = (picture.width(), picture.height(), picture.color().into());
    let pixels = picture.as_bytes();
    match format {
        Format::Png => PngEncoder::new(&mut bytes).write_image(pixels, width, height, colour),
        Format::Jpeg => {
            JpegEncoder::new_with_quality(&mut bytes, 90).write_image(pixels, width, height, colour)
        }
        Format::Webp => {
            WebPEncoder::new_lossless(&mut bytes).write_image(pixels, width, height, colour)
        }
    }?;
    Ok(bytes.into())
}

/// Encodes a film that lasts `seconds` and starts again for ever.
pub(super) fn clip(film: &Film, seconds: f64) -> ImageResult<Bytes> {
    let total = (seconds * 100.0).round() as u32;
    let count = total.div_ceil(FRAME).max(1);
    let mut bytes = Vec::new();
    let mut encoder = GifEncoder::new(&mut bytes);
    encoder.set_repeat(Repeat::Infinite)?;
    for i in 0..count {
        // The frames' times add up to the duration exactly.
        let hundredths = total * (i + 1) / count - total * i / count;
        let delay = Delay::from_numer_denom_ms(hundredths * 10, 1);
        let frame = film.frame(i as f32 / count as f32);
        encoder.encode_frame(Frame::from_parts(frame, 0, 0, delay))?;
    }
    drop(encoder);
    Ok(bytes.into())
}
