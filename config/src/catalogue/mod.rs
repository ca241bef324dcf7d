//! The catalogue of models, read from `models.toml` at start.
//!
//! Nothing is stored; a mistake in the file is an error that names the file and the line. What a
//! job needs of its model is resolved when it is submitted and kept in its row.

mod file;
mod input;
mod media;

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use entities::{
    Credits,
    catalogue::{ModelId, Price, Resolved, ResolvedRoute},
    job::Kind,
    routing::RouteKey,
};
use serde_json::{Map, Value};

pub use file::CatalogueMistake;
pub use input::InputError;

/// The models, by id.
#[derive(Debug)]
pub struct Catalogue {
    models: BTreeMap<ModelId, Model>,
    /// Every route of the file, offered or not.
    routes: BTreeSet<RouteKey>,
}

/// One model.
#[derive(Debug)]
pub struct Model {
    id: ModelId,
    kind: Kind,
    description: String,
    median_seconds: Option<f64>,
    price: Price,
    schema: Value,
    validator: jsonschema::Validator,
    example: Value,
    routes: Vec<Route>,
}

/// A way to make a model's media.
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Route {
    provider: String,
    provider_model: String,
    /// Our field's name to the provider's.
    #[serde(default)]
    rename: BTreeMap<String, String>,
    /// Our fields that the provider does not get.
    #[serde(default)]
    drop: Vec<String>,
    /// Our fields whose numbers the provider wants as texts.
    #[serde(default)]
    texts: Vec<String>,
    /// Fields that the provider always gets.
    #[serde(default)]
    constants: Map<String, Value>,
    /// What one of the provider's billing units costs us, in millionths of a US dollar, where the
    /// provider says how many units a call took.
    unit_usd_micros: Option<u32>,
    /// Where that is from; every route that costs something has it.
    price_from: Option<PriceFrom>,
    /// The most of these units that one file can take, where that is known: then the route is used
    /// only for jobs whose price covers it.
    most_units: Option<u32>,
}

/// Where a provider's own price was read, and when.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct PriceFrom {
    /// A page of the provider's, or in words who says so.
    source: String,
    /// The day it was read.
    read: NaiveDate,
    /// Whether the source is the provider itself. Anybody else's word is to be confirmed.
    #[serde(default)]
    confirmed: bool,
}

impl Catalogue {
    /// The catalogue that is built in.
    ///
    /// # Errors
    /// Every mistake found.
    pub fn built_in() -> Result<Self, Vec<CatalogueMistake>> {
        Self::load(include_str!("../../models.toml"), "models.toml")
    }

    /// Reads a catalogue; `source` is its name in mistakes.
    ///
    /// # Errors
    /// Every mistake found.
    pub fn load(text: &str, source: &str) -> Result<Self, Vec<CatalogueMistake>> {
        let models = file::read(text, source)?;
        let of = |model: &Model| {
            let keys = model.routes().map(|(provider, name)| RouteKey::new(provider, name));
            keys.collect::<Vec<_>>()
        };
        let routes = models.values().flat_map(of).collect();
        Ok(Self { models, routes })
    }

    /// Leaves out the routes of providers that `offers` does not know, and the models that have no
    /// route left.
    #[must_use]
    pub fn offering(mut self, offers: impl Fn(&str) -> bool) -> Self {
        self.models.retain(|_, model| {
            model.routes.retain(|route| offers(&route.provider));
            !model.routes.is_empty()
        });
        self
    }

    /// Every route of the file, also of providers that are not offered.
    #[must_use]
    pub fn routes(&self) -> &BTreeSet<RouteKey> {
        &self.routes
    }

    /// How many models each provider has a route to.
    #[must_use]
    pub fn providers(&self) -> BTreeMap<&str, usize> {
        let mut providers = BTreeMap::new();
        for model in self.models.values() {
            let names: BTreeSet<&str> =
                model.routes.iter().map(|route| route.provider.as_str()).collect();
            for name in names {
                *providers.entry(name).or_default() += 1;
            }
        }
        providers
    }

    /// The routes whose cost is only somebody else's word, not the provider's: `model at provider`.
    #[must_use]
    pub fn unconfirmed(&self) -> Vec<String> {
        let routes = self
            .models
            .values()
            .flat_map(|model| model.routes.iter().map(move |route| (&model.id, route)));
        routes
            .filter(|(_, route)| route.price_from.as_ref().is_some_and(|price| !price.confirmed))
            .map(|(model, route)| format!("{model} at {}", route.provider))
            .collect()
    }

    /// The model with this id.
    #[must_use]
    pub fn get(&self, id: &ModelId) -> Option<&Model> {
        self.models.get(id)
    }

    /// All models, by id.
    pub fn list(&self) -> impl Iterator<Item = &Model> {
        self.models.values()
    }
}

impl Model {
    /// Its public id.
    #[must_use]
    pub fn id(&self) -> &ModelId {
        &self.id
    }

    /// The ways to make it, best first: the provider, and its own name of the model.
    pub fn routes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.routes.iter().map(|route| (route.provider.as_str(), route.provider_model.as_str()))
    }

    /// What it makes.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// For people.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    /// How long a job usually takes.
    #[must_use]
    pub fn median_seconds(&self) -> Option<f64> {
        self.median_seconds
    }

    /// What it costs.
    #[must_use]
    pub fn price(&self) -> &Price {
        &self.price
    }

    /// The JSON Schema of its input.
    #[must_use]
    pub fn input_schema(&self) -> &Value {
        &self.schema
    }

    /// An input that works.
    #[must_use]
    pub fn example(&self) -> &Value {
        &self.example
    }

    /// Fills in defaults and checks the input; pointers in the errors are relative to it.
    ///
    /// # Errors
    /// Every mistake found.
    pub fn validate(&self, input: &Value) -> Result<Value, Vec<InputError>> {
        input::validate(&self.schema, &self.validator, input)
    }

    /// Where a valid input holds media, as JSON Pointers.
    #[must_use]
    pub fn media_pointers(&self, input: &Value) -> Vec<String> {
        media::pointers(&self.schema, input)
    }

    /// Prices a valid input and maps it for every route.
    ///
    /// # Errors
    /// When it has no price.
    pub fn resolve(&self, input: &Value) -> Result<Resolved, Vec<InputError>> {
        let quote = self.price.quote(input).map_err(|error| {
            vec![InputError { pointer: String::new(), detail: error.to_string() }]
        })?;
        let media = media::fields(&self.schema);
        Ok(Resolved {
            model: self.id.clone(),
            kind: self.kind,
            credits: Credits(quote.credits.0),
            outputs: quote.outputs,
            routes: self
                .routes
                .iter()
                .map(|route| route.resolve(input, &media, quote.outputs))
                .collect(),
        })
    }
}

impl Route {
    fn worst(&self, files: u32) -> Option<i64> {
        let (unit, most) = (i64::from(self.unit_usd_micros?), i64::from(self.most_units?));
        Some(unit.saturating_mul(most).saturating_mul(i64::from(files)))
    }

    fn resolve(&self, input: &Value, media: &[&str], files: u32) -> ResolvedRoute {
        let mut mapped = self.constants.clone();
        let mut held = Vec::new();
        for (given, value) in input.as_object().into_iter().flatten() {
            if !self.drop.contains(given) {
                let value = match value {
                    Value::Number(number) if self.texts.contains(given) => {
                        number.to_string().into()
                    }
                    value => value.clone(),
                };
                let name = self.rename.get(given).unwrap_or(given);
                if media.contains(&given.as_str()) {
                    held.push(name.clone());
                }
                mapped.insert(name.clone(), value);
            }
        }
        ResolvedRoute {
            provider: self.provider.clone(),
            pool: self.provider.clone(),
            provider_model: self.provider_model.clone(),
            input: Value::Object(mapped),
            media: held,
            unit_usd_micros: self.unit_usd_micros.map(i64::from),
            worst_usd_micros: self.worst(files),
        }
    }
}

#[cfg(test)]
mod tests;
