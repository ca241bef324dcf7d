//! The most of a provider's billing units that a job can take on a route, as its input decides. Pure.
//!
//! A route is used only for jobs whose price covers this, so that what it says has to be true of the
//! dearest job that the input allows: a cost that comes out higher is a loss that nobody saw coming.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// How the units follow from the input.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "per", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum MostUnits {
    /// The same for every job.
    Job {
        /// For one job.
        units: u32,
    },
    /// For each file.
    File {
        /// For one file.
        units: u32,
    },
    /// For each file, by what was chosen in a field with an `enum`.
    Choice {
        /// The field.
        field: String,
        /// For one file, by the field's value.
        units: BTreeMap<String, u32>,
    },
    /// For each second, begun ones counted.
    Second {
        /// For one second.
        units: u32,
        /// The field that says how long.
        duration: String,
    },
    /// For each million pixels of each file, begun ones counted.
    Megapixel {
        /// For a million pixels.
        units: u32,
        /// The field that says how wide.
        width: String,
        /// The field that says how high.
        height: String,
    },
}

impl MostUnits {
    /// The units of a job with this input, in which defaults are filled in, and so many files. `None`:
    /// the input lacks what decides; a catalogue in which that can happen is refused.
    pub(super) fn of(&self, input: &Value, files: u32) -> Option<i64> {
        let files = i64::from(files);
        let (units, times) = match self {
            Self::Job { units } => (*units, 1),
            Self::File { units } => (*units, files),
            Self::Choice { field, units } => (*units.get(input[field].as_str()?)?, files),
            Self::Second { units, duration } => (*units, whole_seconds(&input[duration])?),
            Self::Megapixel { units, width, height } => {
                let pixels = side(&input[width])?.checked_mul(side(&input[height])?)?;
                (
                    *units,
                    pixels
                        .div_ceil(1_000_000)
                        .checked_mul(files.unsigned_abs())?
                        .try_into()
                        .ok()?,
                )
            }
        };
        i64::from(units).checked_mul(times)
    }

    /// The input's fields that it needs.
    pub(super) fn fields(&self) -> Vec<&str> {
        match self {
            Self::Job { .. } | Self::File { .. } => Vec::new(),
            Self::Choice { field, .. } => vec![field],
            Self::Second { duration, .. } => vec![duration],
            Self::Megapixel { width, height, .. } => vec![width, height],
        }
    }

    /// The numbers of units that it names.
    pub(super) fn numbers(&self) -> Vec<u32> {
        match self {
            Self::Choice { units, .. } => units.values().copied().collect(),
            Self::Job { units }
            | Self::File { units }
            | Self::Second { units, .. }
            | Self::Megapixel { units, .. } => vec![*units],
        }
    }
}

fn side(value: &Value) -> Option<u64> {
    value.as_u64().filter(|side| *side > 0)
}

fn whole_seconds(value: &Value) -> Option<i64> {
    let seconds = value.as_f64().filter(|seconds| (0.0..=1e9).contains(seconds))?;
    #[expect(clippy::cast_possible_truncation, reason = "at most 1e9, checked above")]
    let whole = seconds.ceil() as i64;
    Some(whole)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> MostUnits {
        #[derive(Deserialize)]
        struct Line {
            most_units: MostUnits,
        }
        toml::from_str::<Line>(&format!("most_units = {text}")).unwrap().most_units
    }

    #[test]
    fn units_follow_from_the_input() {
        let input = json!({
            "size": "large", "seconds": 4.2, "w": 1408, "h": 1408, "other": "x"
        });
        for (text, files, expected) in [
            ("{ per = \"job\", units = 7 }", 3, Some(7)),
            ("{ per = \"file\", units = 2 }", 3, Some(6)),
            (
                "{ per = \"choice\", field = \"size\", units = { large = 2, small = 1 } }",
                4,
                Some(8),
            ),
            ("{ per = \"choice\", field = \"other\", units = { large = 2 } }", 4, None),
            ("{ per = \"second\", units = 20, duration = \"seconds\" }", 1, Some(100)),
            ("{ per = \"second\", units = 20, duration = \"none\" }", 1, None),
            ("{ per = \"megapixel\", units = 3, width = \"w\", height = \"h\" }", 2, Some(12)),
            ("{ per = \"megapixel\", units = 3, width = \"w\", height = \"size\" }", 2, None),
        ] {
            assert_eq!(read(text).of(&input, files), expected, "{text}");
        }
    }
}
