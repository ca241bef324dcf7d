//! From an order to its files. It takes the processor's time: call it off the async threads.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use image::{DynamicImage, ImageError, ImageResult, RgbImage, imageops::FilterType};

use super::{
    super::{Artifact, ArtifactSource},
    art::{self, Film, Subject},
    encode,
    input::{Order, Product},
};

/// Makes every file of an order; the same order makes the same bytes.
pub(super) fn files(order: &Order) -> ImageResult<Vec<Artifact>> {
    let guest = order.image.as_deref().map(picture).transpose()?;
    let subject = |variant| Subject {
        prompt: &order.prompt,
        width: order.width,
        height: order.height,
        seed: order.seed.unwrap_or_else(|| art::seed_of_prompt(&order.prompt)),
        variant,
    };
    let artifact = |content_type: &str, bytes| Artifact {
        content_type: Some(content_type.to_owned()),
        source: ArtifactSource::Bytes(bytes),
    };
    match order.product {
        Product::Pictures { format, count } => (0..count)
            .map(|variant| {
                let mut painted = art::paint(subject(variant));
                if let Some(guest) = &guest {
                    shine_through(&mut painted, guest);
                }
                let bytes = encode::still(painted, format)?;
                Ok(artifact(format.content_type(), bytes))
            })
            .collect(),
        Product::Clip { seconds } => {
            let bytes = encode::clip(&Film::of(subject(0)), seconds)?;
            Ok(vec![artifact("image/gif", bytes)])
        }
    }
}

/// The picture in a `data:` URI.
fn picture(uri: &str) -> ImageResult<DynamicImage> {
    let broken = |text: &str| ImageError::IoError(std::io::Error::other(text.to_owned()));
    let (_, data) = uri.split_once(";base64,").ok_or_else(|| broken("the image is no data"))?;
    let bytes = STANDARD.decode(data).map_err(|error| broken(&error.to_string()))?;
    image::load_from_memory(&bytes)
}

/// Lays the picture half transparent over what is painted, cut to its shape.
fn shine_through(painted: &mut RgbImage, guest: &DynamicImage) {
    let (width, height) = painted.dimensions();
    let guest = guest.resize_to_fill(width, height, FilterType::Triangle).into_rgb8();
    for (below, above) in painted.iter_mut().zip(guest.iter()) {
        *below = below.midpoint(*above);
    }
}
