//! The catalogue of models, read from `models.toml` at start.
//!
//! Nothing is stored; a mistake in the file is an error that names the file and the line. What a
//! job needs of its model is resolved when it is submitted and kept in its row.

mod check;
mod cover;
mod file;
mod input;
mod media;
mod route;
mod worst;

use std::collections::{BTreeMap, BTreeSet};

use entities::{
    Credits,
    catalogue::{ModelId, Price, Resolved},
    job::Kind,
    routing::RouteKey,
};
use serde_json::Value;

pub use file::CatalogueMistake;
pub use input::InputError;
use route::Route;

use crate::handover::Handover;

/// The models, by id.
#[derive(Debug)]
pub struct Catalogue {
    models: BTreeMap<ModelId, Model>,
    /// Every model of the file, offered or not.
    ids: BTreeSet<ModelId>,
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
        let ids = models.keys().cloned().collect();
        Ok(Self { models, ids, routes })
    }

    /// Leaves out the routes of providers that `offers` does not know, and the models that have no
    /// route left.
    #[must_use]
    pub fn offering(mut self, offers: impl Fn(&str) -> bool) -> Self {
        self.models.retain(|_, model| {
            model.routes.retain(|route| offers(route.provider()));
            !model.routes.is_empty()
        });
        self
    }

    /// Leaves out the routes that media cannot be handed to, of models that take some, and the
    /// models that have no route left.
    #[must_use]
    pub fn handing_over(mut self, way: impl Fn(&str, &str) -> Handover) -> Self {
        for model in self.models.values_mut().filter(|model| model.takes_media()) {
            let ways: Vec<Handover> =
                model.routes().map(|(provider, name)| way(provider, name)).collect();
            let mut ways = ways.into_iter();
            model.routes.retain(|_| ways.next() != Some(Handover::Never));
        }
        self.models.retain(|_, model| !model.routes.is_empty());
        self
    }

    /// Every route of the file, also of providers that are not offered.
    #[must_use]
    pub fn routes(&self) -> &BTreeSet<RouteKey> {
        &self.routes
    }

    /// Every model of the file, also those that are not offered.
    #[must_use]
    pub fn ids(&self) -> &BTreeSet<ModelId> {
        &self.ids
    }

    /// How many models each provider has a route to.
    #[must_use]
    pub fn providers(&self) -> BTreeMap<&str, usize> {
        let mut providers = BTreeMap::new();
        for model in self.models.values() {
            let names: BTreeSet<&str> = model.routes.iter().map(Route::provider).collect();
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
            .filter(|(_, route)| route.is_unconfirmed())
            .map(|(model, route)| format!("{model} at {}", route.provider()))
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
        self.routes.iter().map(|route| (route.provider(), route.provider_model()))
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

    /// Whether its input can hold media.
    #[must_use]
    pub fn takes_media(&self) -> bool {
        !media::fields(&self.schema).is_empty()
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

#[cfg(test)]
mod mistakes;
#[cfg(test)]
mod tests;
