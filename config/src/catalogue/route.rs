//! A route of a model: who makes it, how our input becomes theirs, and what it can cost us.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use entities::catalogue::ResolvedRoute;
use serde::Deserialize;
use serde_json::{Map, Value};
use toml::Spanned;

use super::worst::MostUnits;

/// A way to make a model's media. What a mistake can be in knows where it stands in the file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Route {
    pub(super) provider: Spanned<String>,
    pub(super) provider_model: Spanned<String>,
    /// Our field's name to the provider's.
    pub(super) rename: Option<Spanned<BTreeMap<String, String>>>,
    /// Our fields that the provider does not get.
    pub(super) drop: Option<Spanned<BTreeSet<String>>>,
    /// Our fields whose numbers the provider wants as texts.
    pub(super) texts: Option<Spanned<BTreeSet<String>>>,
    /// Fields that the provider always gets.
    pub(super) constants: Option<Spanned<Map<String, Value>>>,
    /// What one of the provider's billing units costs us, in millionths of a US dollar. A route
    /// without it costs nothing.
    pub(super) unit_usd_micros: Option<Spanned<u32>>,
    /// Where that is from; every route that costs something has it.
    pub(super) price_from: Option<Spanned<PriceFrom>>,
    /// The most of these units that a job can take; every route that costs something has it.
    pub(super) most_units: Option<Spanned<MostUnits>>,
}

/// Where a provider's own price was read, and when.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PriceFrom {
    /// A page of the provider's, or in words who says so.
    pub(super) source: String,
    /// The day it was read.
    pub(super) read: NaiveDate,
    /// Whether the source is the provider itself. Anybody else's word is to be confirmed.
    #[serde(default)]
    pub(super) confirmed: bool,
}

impl Route {
    pub(super) fn provider(&self) -> &str {
        self.provider.get_ref()
    }

    pub(super) fn provider_model(&self) -> &str {
        self.provider_model.get_ref()
    }

    pub(super) fn drops(&self, field: &str) -> bool {
        self.drop.as_ref().is_some_and(|fields| fields.get_ref().contains(field))
    }

    fn writes_as_text(&self, field: &str) -> bool {
        self.texts.as_ref().is_some_and(|fields| fields.get_ref().contains(field))
    }

    /// What the provider calls our field.
    pub(super) fn name_of<'a>(&'a self, field: &'a str) -> &'a str {
        let renamed = self.rename.as_ref().and_then(|names| names.get_ref().get(field));
        renamed.map_or(field, String::as_str)
    }

    pub(super) fn is_unconfirmed(&self) -> bool {
        self.price_from.as_ref().is_some_and(|price| !price.get_ref().confirmed)
    }

    fn unit(&self) -> Option<i64> {
        self.unit_usd_micros.as_ref().map(|unit| i64::from(*unit.get_ref()))
    }

    /// The most that a job with this input and so many files can cost us, in millionths of a US
    /// dollar. `None`: it costs nothing.
    pub(super) fn worst(&self, input: &Value, files: u32) -> Option<i64> {
        let (unit, most) = (self.unit()?, self.most_units.as_ref()?);
        // What is not known fits nothing.
        let units = most.get_ref().of(input, files).unwrap_or(i64::MAX);
        Some(unit.saturating_mul(units))
    }

    pub(super) fn resolve(&self, input: &Value, media: &[&str], files: u32) -> ResolvedRoute {
        let mut mapped = self.constants.as_ref().map_or_else(Map::new, |all| all.get_ref().clone());
        let mut held = Vec::new();
        for (given, value) in input.as_object().into_iter().flatten() {
            if self.drops(given) {
                continue;
            }
            let value = match value {
                Value::Number(number) if self.writes_as_text(given) => number.to_string().into(),
                value => value.clone(),
            };
            let name = self.name_of(given);
            if media.contains(&given.as_str()) {
                held.push(name.to_owned());
            }
            mapped.insert(name.to_owned(), value);
        }
        ResolvedRoute {
            provider: self.provider().to_owned(),
            pool: self.provider().to_owned(),
            provider_model: self.provider_model().to_owned(),
            input: Value::Object(mapped),
            media: held,
            unit_usd_micros: self.unit(),
            worst_usd_micros: self.worst(input, files),
        }
    }
}
