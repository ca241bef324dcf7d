//! Small pictures of large ones. They are JPEGs: what is transparent lies on white. Nothing of the
//! original's metadata is in them; the way it is to be turned is applied.

use bytes::Bytes;
use image::{
    DynamicImage, ImageResult, Rgb, RgbImage, codecs::jpeg::JpegEncoder, imageops::FilterType,
    metadata::Orientation,
};

use super::ContentType;

/// The longest side of a thumbnail, in pixels. A picture that is no larger is its own.
pub const THUMBNAIL: u32 = 320;

/// 1 to 100.
const QUALITY: u8 = 80;

/// A thumbnail that is not stored yet.
#[derive(Debug)]
pub(super) struct Small {
    pub(super) bytes: Bytes,
    pub(super) content_type: ContentType,
    pub(super) width: u32,
    pub(super) height: u32,
}

/// The thumbnail of a picture; none if it is small itself. Takes a while: not on an async thread.
pub(super) fn of(picture: &DynamicImage, orientation: Orientation) -> ImageResult<Option<Small>> {
    let longest = picture.width().max(picture.height());
    if longest <= THUMBNAIL {
        return Ok(None);
    }
    // The fast way is coarse where a picture is not much larger.
    let mut small = if longest >= 2 * THUMBNAIL {
        picture.thumbnail(THUMBNAIL, THUMBNAIL)
    } else {
        picture.resize(THUMBNAIL, THUMBNAIL, FilterType::Triangle)
    };
    small.apply_orientation(orientation);
    let flat = on_white(small);
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, QUALITY).encode_image(&flat)?;
    let (width, height) = flat.dimensions();
    Ok(Some(Small { bytes: bytes.into(), content_type: ContentType::Jpeg, width, height }))
}

fn on_white(picture: DynamicImage) -> RgbImage {
    if !picture.color().has_alpha() {
        return picture.into_rgb8();
    }
    let picture = picture.into_rgba8();
    RgbImage::from_fn(picture.width(), picture.height(), |x, y| {
        let [red, green, blue, alpha] = picture.get_pixel(x, y).0;
        let over = |tone: u8| {
            let (tone, alpha) = (u32::from(tone), u32::from(alpha));
            u8::try_from((tone * alpha + 255 * (255 - alpha)) / 255).unwrap_or(u8::MAX)
        };
        Rgb([over(red), over(green), over(blue)])
    })
}

#[cfg(test)]
mod tests {
    use image::{Rgba, RgbaImage};

    use super::*;

    fn made(picture: impl Into<DynamicImage>, orientation: Orientation) -> DynamicImage {
        let small = of(&picture.into(), orientation).unwrap().unwrap();
        let decoded = image::load_from_memory(&small.bytes).unwrap();
        assert_eq!((decoded.width(), decoded.height()), (small.width, small.height));
        decoded
    }

    #[test]
    fn the_longest_side_is_320_and_the_shape_stays() {
        for ((width, height), expected) in [
            ((1000, 500), (320, 160)),
            ((500, 1000), (160, 320)),
            ((321, 321), (320, 320)),
            ((400, 300), (320, 240)),
            ((4000, 2), (320, 1)),
        ] {
            let small = made(RgbImage::new(width, height), Orientation::NoTransforms);
            assert_eq!((small.width(), small.height()), expected, "{width} x {height}");
        }
        for (width, height) in [(320, 320), (320, 1), (1, 1)] {
            let small = of(&RgbImage::new(width, height).into(), Orientation::NoTransforms);
            assert!(small.unwrap().is_none(), "{width} x {height}");
        }
    }

    #[test]
    fn what_is_transparent_is_white_and_what_lies_on_its_side_is_turned() {
        let clear = RgbaImage::from_pixel(640, 640, Rgba([255, 0, 0, 0]));
        let middle = made(clear, Orientation::NoTransforms).to_rgb8().get_pixel(160, 160).0;
        assert!(middle.iter().all(|tone| *tone > 250), "{middle:?}");
        let turned = made(RgbImage::new(1000, 500), Orientation::Rotate90);
        assert_eq!((turned.width(), turned.height()), (160, 320));
    }

    #[test]
    fn deep_and_grey_pictures_have_one_too() {
        made(DynamicImage::new_rgba16(700, 400), Orientation::NoTransforms);
        made(DynamicImage::new_luma8(700, 400), Orientation::NoTransforms);
        made(DynamicImage::new_luma_a16(400, 700), Orientation::NoTransforms);
    }
}
