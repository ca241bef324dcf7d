//! From an order to its files. It takes the processor's time: call it off the async threads.

use image::ImageResult;

use super::{
    super::{Artifact, ArtifactSource},
    art::{self, Film, Subject},
    encode,
    input::{Order, Product},
};

/// Makes every file of an order; the same order makes the same bytes.
pub(super) fn files(order: &Order) -> ImageResult<Vec<Artifact>> {
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
                let bytes = encode::still(art::paint(subject(variant)), format)?;
                Ok(artifact(format.content_type(), bytes))
            })
            .collect(),
        Product::Clip { seconds } => {
            let bytes = encode::clip(&Film::of(subject(0)), seconds)?;
            Ok(vec![artifact("image/gif", bytes)])
        }
    }
}
