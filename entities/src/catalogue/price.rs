//! Price formulas. Pure; rounded up to whole credits, and never less than 1.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Credits;

/// What a model costs. The fields that drive a formula are named; their values are in the input,
/// where defaults are filled in already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "per", rename_all = "snake_case", deny_unknown_fields)]
pub enum Price {
    /// The same for every job.
    Flat {
        /// For one job.
        credits: i64,
    },
    /// For each file.
    Image {
        /// For one file.
        credits: i64,
        /// The field that says how many; without it, one.
        count: Option<String>,
    },
    /// For each million pixels of each file.
    Megapixel {
        /// For a million pixels.
        credits: i64,
        /// The field that says how wide.
        width: String,
        /// The field that says how high.
        height: String,
        /// The field that says how many; without it, one.
        count: Option<String>,
    },
    /// For each second.
    Second {
        /// For one second.
        credits: i64,
        /// The field that says how long.
        duration: String,
    },
}

/// The price of one job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quote {
    /// What is held, and charged if all files come.
    pub credits: Credits,
    /// How many files are asked for.
    pub outputs: u32,
}

/// A price that cannot be worked out from this input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PriceError {
    /// A field that drives the price is missing or not a number above zero.
    #[error("`{0}` must be a number above zero")]
    Field(String),
    /// The price does not fit.
    #[error("the price is out of range")]
    Range,
}

impl Price {
    /// The price of a job with this input.
    ///
    /// # Errors
    /// See [`PriceError`].
    pub fn quote(&self, input: &Value) -> Result<Quote, PriceError> {
        let (unit, amount, outputs) = match self {
            Self::Flat { credits } => (*credits, Amount::whole(1), 1),
            Self::Image { credits, count } => {
                let count = count_of(input, count.as_deref())?;
                (*credits, Amount::whole(count), count)
            }
            Self::Megapixel { credits, width, height, count } => {
                let count = count_of(input, count.as_deref())?;
                let pixels = i128::from(whole(input, width)?) * i128::from(whole(input, height)?);
                (*credits, Amount { times: pixels * i128::from(count), over: 1_000_000 }, count)
            }
            Self::Second { credits, duration } => {
                // Thousandths of a second are fine enough for a price.
                let seconds = number(input, duration)?;
                let times = (seconds * 1_000.0).ceil();
                if times > 1e15 {
                    return Err(PriceError::Range);
                }
                #[expect(clippy::cast_possible_truncation, reason = "at most 1e15, checked above")]
                let times = times as i128;
                (*credits, Amount { times, over: 1_000 }, 1)
            }
        };
        let credits = amount.of(unit).ok_or(PriceError::Range)?;
        let outputs = u32::try_from(outputs).map_err(|_| PriceError::Range)?;
        Ok(Quote { credits: Credits(credits.max(1)), outputs })
    }

    /// The unit price in credits.
    #[must_use]
    pub fn unit(&self) -> i64 {
        match self {
            Self::Flat { credits }
            | Self::Image { credits, .. }
            | Self::Megapixel { credits, .. }
            | Self::Second { credits, .. } => *credits,
        }
    }

    /// The input's fields that it needs.
    #[must_use]
    pub fn fields(&self) -> Vec<&str> {
        match self {
            Self::Flat { .. } => Vec::new(),
            Self::Image { count, .. } => count.as_deref().into_iter().collect(),
            Self::Megapixel { width, height, count, .. } => {
                [Some(width.as_str()), Some(height.as_str()), count.as_deref()]
                    .into_iter()
                    .flatten()
                    .collect()
            }
            Self::Second { duration, .. } => vec![duration],
        }
    }

    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let unit = match self {
            Self::Flat { .. } => "job",
            Self::Image { .. } => "image",
            Self::Megapixel { .. } => "megapixel",
            Self::Second { .. } => "second",
        };
        format!("{} credits per {unit}", self.unit())
    }
}

/// An exact fraction.
struct Amount {
    times: i128,
    over: i128,
}

impl Amount {
    fn whole(times: i64) -> Self {
        Self { times: i128::from(times), over: 1 }
    }

    /// `unit × times / over`, rounded up.
    fn of(&self, unit: i64) -> Option<i64> {
        let product = i128::from(unit).checked_mul(self.times)?;
        let up = product.checked_add(self.over - 1)? / self.over;
        i64::try_from(up).ok()
    }
}

fn count_of(input: &Value, field: Option<&str>) -> Result<i64, PriceError> {
    field.map_or(Ok(1), |field| whole(input, field))
}

fn whole(input: &Value, field: &str) -> Result<i64, PriceError> {
    input[field]
        .as_i64()
        .filter(|number| *number > 0)
        .ok_or_else(|| PriceError::Field(field.into()))
}

fn number(input: &Value, field: &str) -> Result<f64, PriceError> {
    let number = input[field].as_f64().filter(|number| number.is_finite() && *number > 0.0);
    number.ok_or_else(|| PriceError::Field(field.into()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn image(credits: i64) -> Price {
        Price::Image { credits, count: Some("count".into()) }
    }

    fn megapixel(credits: i64) -> Price {
        Price::Megapixel { credits, width: "w".into(), height: "h".into(), count: None }
    }

    #[test]
    fn prices_round_up() {
        let quote = |price: &Price, input| price.quote(&input).map(|quote| quote.credits.0);
        assert_eq!(quote(&Price::Flat { credits: 7 }, json!({})), Ok(7));
        assert_eq!(quote(&image(10), json!({"count": 3})), Ok(30));
        assert_eq!(quote(&megapixel(10), json!({"w": 1000, "h": 1001})), Ok(11));
        assert_eq!(quote(&megapixel(1), json!({"w": 1, "h": 1})), Ok(1));
        let second = Price::Second { credits: 25, duration: "d".into() };
        assert_eq!(quote(&second, json!({"d": 2.01})), Ok(51));
        assert_eq!(quote(&second, json!({"d": 1e300})), Err(PriceError::Range));
        assert_eq!(quote(&second, json!({"d": -1})), Err(PriceError::Field("d".into())));
        assert_eq!(
            quote(&image(10), json!({"count": "3"})),
            Err(PriceError::Field("count".into()))
        );
        assert_eq!(quote(&image(i64::MAX), json!({"count": 2})), Err(PriceError::Range));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn more_never_costs_less(unit in 1_i64..1_000_000, w in 1_i64..100_000, h in 1_i64..100_000, more in 0_i64..1_000) {
            let small = megapixel(unit).quote(&json!({"w": w, "h": h})).unwrap();
            let large = megapixel(unit).quote(&json!({"w": w + more, "h": h})).unwrap();
            prop_assert!(small.credits <= large.credits && small.credits.0 >= 1);
            let exact = i128::from(unit) * i128::from(w) * i128::from(h);
            prop_assert!(i128::from(small.credits.0) * 1_000_000 >= exact);
            prop_assert!(i128::from(small.credits.0 - 1) * 1_000_000 < exact);
        }

        #[test]
        fn no_input_makes_a_price_panic(unit in any::<i64>(), count in any::<i64>(), d in any::<f64>()) {
            let _ = image(unit).quote(&json!({"count": count}));
            let _ = Price::Second { credits: unit, duration: "d".into() }.quote(&json!({"d": d}));
        }
    }
}
