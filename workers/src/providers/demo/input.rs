//! What the demo models take, and how it is checked.
//!
//! A mistake is a text for the user. Whole numbers may be written as `512` or `512.0`: JSON
//! Schema calls both integers, so the gateway lets both through.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::Value;

/// The longest prompt, in characters.
const PROMPT: usize = 5_000;

/// What a request asks for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Order {
    pub(super) prompt: String,
    pub(super) width: u32,
    pub(super) height: u32,
    /// None: it follows from the prompt.
    pub(super) seed: Option<u64>,
    pub(super) delay: Duration,
    pub(super) fail: Option<Fail>,
    pub(super) product: Product,
    /// A picture that shines through: a `data:` URI.
    pub(super) image: Option<String>,
}

/// What is made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Product {
    Pictures { format: Format, count: u32 },
    Clip { seconds: f64 },
}

/// The file type of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Format {
    #[default]
    Png,
    Jpeg,
    Webp,
}

impl Format {
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::Webp => "image/webp",
        }
    }
}

/// The failure that a request asks for, so that people can see what the platform does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Fail {
    /// Refused at once, as if the input were at fault.
    Rejected,
    /// Accepted; the result turns out to break the content rules.
    Moderated,
    /// Refused twice for being too much, then accepted.
    Throttled,
    /// Refused every time.
    Unavailable,
    /// Accepted, but the answer is lost.
    Unknown,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sketch {
    prompt: String,
    #[serde(default, deserialize_with = "whole")]
    width: Option<u64>,
    #[serde(default, deserialize_with = "whole")]
    height: Option<u64>,
    #[serde(default, deserialize_with = "whole")]
    seed: Option<u64>,
    format: Option<Format>,
    #[serde(default, deserialize_with = "whole")]
    count: Option<u64>,
    image: Option<String>,
    delay_seconds: Option<f64>,
    fail: Option<Fail>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Clip {
    prompt: String,
    duration_seconds: Option<f64>,
    #[serde(default, deserialize_with = "whole")]
    width: Option<u64>,
    #[serde(default, deserialize_with = "whole")]
    height: Option<u64>,
    #[serde(default, deserialize_with = "whole")]
    seed: Option<u64>,
    delay_seconds: Option<f64>,
    fail: Option<Fail>,
}

/// Why an order cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadOrder {
    /// The input is at fault; the text is for the user.
    #[error("{0}")]
    Input(String),
    /// The catalogue names a model that the demo provider does not have.
    #[error("the demo provider has no model {0:?}")]
    Model(String),
}

impl Order {
    /// Reads and checks what a model was given.
    pub(super) fn read(model: &str, input: &Value) -> Result<Self, BadOrder> {
        let bad = |error: serde_json::Error| BadOrder::Input(error.to_string());
        match model {
            "sketch" => Self::sketch(Sketch::deserialize(input).map_err(bad)?),
            "clip" => Self::clip(Clip::deserialize(input).map_err(bad)?),
            other => Err(BadOrder::Model(other.to_owned())),
        }
    }

    fn sketch(input: Sketch) -> Result<Self, BadOrder> {
        let count = number("count", input.count, (1, 4), 1)?;
        let product = Product::Pictures { format: input.format.unwrap_or_default(), count };
        Ok(Self {
            prompt: prompt(input.prompt)?,
            width: number("width", input.width, (64, 2048), 512)?,
            height: number("height", input.height, (64, 2048), 512)?,
            seed: input.seed,
            delay: seconds("delay_seconds", input.delay_seconds, (0.0, 3600.0), 0.0)?,
            fail: input.fail,
            product,
            image: input.image,
        })
    }

    fn clip(input: Clip) -> Result<Self, BadOrder> {
        let duration = seconds("duration_seconds", input.duration_seconds, (1.0, 10.0), 2.0)?;
        Ok(Self {
            prompt: prompt(input.prompt)?,
            width: number("width", input.width, (64, 512), 256)?,
            height: number("height", input.height, (64, 512), 256)?,
            seed: input.seed,
            delay: seconds("delay_seconds", input.delay_seconds, (0.0, 3600.0), 0.0)?,
            fail: input.fail,
            product: Product::Clip { seconds: duration.as_secs_f64() },
            image: None,
        })
    }
}

fn prompt(prompt: String) -> Result<String, BadOrder> {
    if prompt.trim().is_empty() {
        return Err(BadOrder::Input("prompt must not be empty".to_owned()));
    }
    if prompt.chars().count() > PROMPT {
        return Err(BadOrder::Input(format!("prompt must have at most {PROMPT} characters")));
    }
    Ok(prompt)
}

fn number(
    name: &str,
    given: Option<u64>,
    (least, most): (u32, u32),
    default: u32,
) -> Result<u32, BadOrder> {
    let Some(given) = given else { return Ok(default) };
    u32::try_from(given)
        .ok()
        .filter(|given| (least..=most).contains(given))
        .ok_or_else(|| BadOrder::Input(format!("{name} must be from {least} to {most}")))
}

fn seconds(
    name: &str,
    given: Option<f64>,
    (least, most): (f64, f64),
    default: f64,
) -> Result<Duration, BadOrder> {
    let given = given.unwrap_or(default);
    if !(least..=most).contains(&given) {
        return Err(BadOrder::Input(format!("{name} must be from {least} to {most}")));
    }
    Ok(Duration::from_secs_f64(given))
}

/// A whole number, also when it is written with `.0`.
fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let Some(number) = Option::<serde_json::Number>::deserialize(deserializer)? else {
        return Ok(None);
    };
    if let Some(whole) = number.as_u64() {
        return Ok(Some(whole));
    }
    // Beyond this, a float no longer says which whole number it means.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match number.as_f64() {
        Some(float) if float.fract() == 0.0 && (0.0..=EXACT).contains(&float) => {
            Ok(Some(float as u64))
        }
        _ => Err(D::Error::custom(format!("{number} is not a whole number from 0 upwards"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn defaults_are_filled_in() {
        let order = Order::read("sketch", &json!({"prompt": "a hill"})).unwrap();
        assert_eq!((order.width, order.height, order.seed), (512, 512, None));
        assert_eq!(order.product, Product::Pictures { format: Format::Png, count: 1 });
        let order = Order::read("clip", &json!({"prompt": "a hill", "seed": null})).unwrap();
        assert_eq!((order.width, order.product), (256, Product::Clip { seconds: 2.0 }));
    }

    #[test]
    fn whole_numbers_may_be_written_as_floats() {
        let input = json!({"prompt": "a", "width": 64.0, "seed": u64::MAX, "count": 4.0});
        let order = Order::read("sketch", &input).unwrap();
        assert_eq!((order.width, order.seed), (64, Some(u64::MAX)));
    }

    #[test]
    fn mistakes_are_named() {
        for (input, word) in [
            (json!({}), "prompt"),
            (json!({"prompt": "  "}), "prompt"),
            (json!({"prompt": "a".repeat(5_001)}), "5000"),
            (json!({"prompt": "a", "width": 63}), "width"),
            (json!({"prompt": "a", "height": 2049}), "height"),
            (json!({"prompt": "a", "width": 64.5}), "64.5"),
            (json!({"prompt": "a", "seed": -1}), "-1"),
            (json!({"prompt": "a", "count": 5}), "count"),
            (json!({"prompt": "a", "delay_seconds": 3601}), "delay_seconds"),
            (json!({"prompt": "a", "fail": "maybe"}), "maybe"),
            (json!({"prompt": "a", "format": "gif"}), "gif"),
            (json!({"prompt": "a", "duration_seconds": 2}), "duration_seconds"),
        ] {
            let text = Order::read("sketch", &input).unwrap_err().to_string();
            assert!(text.contains(word), "{text}");
        }
        let wrong = Order::read("portrait", &json!({"prompt": "a"}));
        assert_eq!(wrong, Err(BadOrder::Model("portrait".to_owned())));
    }
}
