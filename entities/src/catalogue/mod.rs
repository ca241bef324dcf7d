//! What a job remembers of the catalogue: its price and its routes, as they were at submit. Pure.

mod price;

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use price::{Price, PriceError, Quote};

use crate::{Credits, job::Kind};

/// A model's public id: `owner/name`, in lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ModelId(String);

/// A text that is not a model's id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a model id is owner/name in lower-case letters, digits, '.', '_' and '-'")]
pub struct BadModelId;

impl ModelId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ModelId {
    type Err = BadModelId;

    fn from_str(text: &str) -> Result<Self, BadModelId> {
        let part = |part: &str| {
            (1..=64).contains(&part.len())
                && !part.starts_with('.')
                && part.bytes().all(|byte| {
                    byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte)
                })
        };
        match text.split_once('/') {
            Some((owner, name)) if part(owner) && part(name) => Ok(Self(text.to_owned())),
            _ => Err(BadModelId),
        }
    }
}

impl TryFrom<String> for ModelId {
    type Error = BadModelId;

    fn try_from(text: String) -> Result<Self, BadModelId> {
        text.parse()
    }
}

impl From<ModelId> for String {
    fn from(id: ModelId) -> Self {
        id.0
    }
}

impl fmt::Display for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What was resolved when a job was submitted; settlement and workers use this, whatever the
/// catalogue says later.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Resolved {
    /// The model.
    pub model: ModelId,
    /// What it makes.
    pub kind: Kind,
    /// The price, which is held.
    pub credits: Credits,
    /// How many files are asked for.
    pub outputs: u32,
    /// The ways to make it, best first; never empty.
    pub routes: Vec<ResolvedRoute>,
}

/// One way to make it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ResolvedRoute {
    /// Who makes it.
    pub provider: String,
    /// The pool that serves the provider.
    pub pool: String,
    /// The provider's own name of the model.
    pub provider_model: String,
    /// The input in the provider's words.
    pub input: Value,
    /// The fields of `input` that hold uploads' ids instead of media.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub media: Vec<String>,
    /// What one of the provider's billing units costs us, in millionths of a US dollar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit_usd_micros: Option<i64>,
    /// The most that it can cost us, in millionths of a US dollar, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worst_usd_micros: Option<i64>,
}

/// What one credit is worth, in millionths of a US dollar.
const CREDIT_USD_MICROS: i64 = 1_000;

impl ResolvedRoute {
    /// Whether the most that it can cost us is covered by what is held for the job.
    #[must_use]
    pub fn fits(&self, held: Credits) -> bool {
        self.worst_usd_micros.is_none_or(|most| most <= held.0.saturating_mul(CREDIT_USD_MICROS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn model_ids_have_one_spelling() {
        assert!("demo/sketch".parse::<ModelId>().is_ok());
        for text in
            ["", "/", "demo", "demo/", "/sketch", "Demo/sketch", "a/b/c", "a/b c", "../x", "ä/b"]
        {
            assert!(text.parse::<ModelId>().is_err(), "{text}");
        }
    }
}
