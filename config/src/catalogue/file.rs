//! Reading the catalogue's file, and every mistake in it.

use std::{collections::BTreeMap, fmt};

use entities::{
    catalogue::{ModelId, Price},
    job::Kind,
};
use serde::Deserialize;
use serde_json::Value;
use toml::Spanned;

use super::{Model, Route};

/// A mistake in the catalogue's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogueMistake {
    source: String,
    line: usize,
    what: String,
}

impl fmt::Display for CatalogueMistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} line {}: {}", self.source, self.line, self.what)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    model: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: Spanned<String>,
    kind: Kind,
    description: String,
    median_seconds: Option<f64>,
    price: Spanned<Price>,
    example: Spanned<Value>,
    input: Spanned<Value>,
    routes: Vec<Spanned<Route>>,
}

pub(super) fn read(
    text: &str,
    source: &str,
) -> Result<BTreeMap<ModelId, Model>, Vec<CatalogueMistake>> {
    let mistake = |at: usize, what: String| {
        let line = text.get(..at).map_or(1, |before| before.matches('\n').count() + 1);
        CatalogueMistake { source: source.to_owned(), line, what }
    };
    let file: File = toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        vec![mistake(at, error.message().to_owned())]
    })?;
    let mut models = BTreeMap::new();
    let mut mistakes = Vec::new();
    for entry in file.model {
        let at = entry.id.span().start;
        match model(entry) {
            Ok(model) if models.contains_key(&model.id) => {
                mistakes.push(mistake(at, format!("the model {} is there twice", model.id)));
            }
            Ok(model) => {
                models.insert(model.id.clone(), model);
            }
            Err(found) => {
                mistakes.extend(found.into_iter().map(|(at, what)| mistake(at, what)));
            }
        }
    }
    if mistakes.is_empty() { Ok(models) } else { Err(mistakes) }
}

/// A mistake and where it stands.
type At = (usize, String);

fn model(entry: Entry) -> Result<Model, Vec<At>> {
    let mut mistakes: Vec<At> = Vec::new();
    let schema_at = entry.input.span().start;
    let (price_at, example_at) = (entry.price.span().start, entry.example.span().start);
    let id_at = entry.id.span().start;
    let id: Option<ModelId> = entry
        .id
        .get_ref()
        .parse()
        .map_err(|error: entities::catalogue::BadModelId| mistakes.push((id_at, error.to_string())))
        .ok();
    let schema = entry.input.into_inner();
    check_schema(&schema, schema_at, &mut mistakes);
    let validator = jsonschema::validator_for(&schema)
        .map_err(|error| {
            mistakes.push((schema_at, format!("the input's schema is wrong: {error}")))
        })
        .ok();
    let price = entry.price.into_inner();
    if price.unit() < 1 {
        mistakes.push((price_at, "a price is at least 1 credit".to_owned()));
    }
    for field in price.fields() {
        if schema["properties"].get(field).is_none() {
            mistakes.push((price_at, format!("the price depends on `{field}`, which is no input")));
        }
    }
    if entry.routes.is_empty() {
        mistakes.push((id_at, "a model needs a route".to_owned()));
    }
    for route in &entry.routes {
        if let Some(what) = without_source(route.get_ref()) {
            mistakes.push((route.span().start, what));
        }
    }
    let (Some(id), Some(validator)) = (id, validator) else { return Err(mistakes) };
    let model = Model {
        id,
        kind: entry.kind,
        description: entry.description,
        median_seconds: entry.median_seconds,
        price,
        schema,
        validator,
        example: entry.example.into_inner(),
        routes: entry.routes.into_iter().map(Spanned::into_inner).collect(),
    };
    if mistakes.is_empty() {
        let tried = model.validate(&model.example).and_then(|input| model.resolve(&input));
        for error in tried.err().into_iter().flatten() {
            mistakes.push((example_at, format!("the example does not work: {error}")));
        }
    }
    if mistakes.is_empty() { Ok(model) } else { Err(mistakes) }
}

/// A cost must say where it is from, or nobody can tell when it is out of date.
fn without_source(route: &Route) -> Option<String> {
    match (&route.unit_usd_micros, &route.price_from) {
        (Some(_), None) => Some(format!(
            "the route to {} costs something, so it needs price_from = {{ source = \"…\", read = \"YYYY-MM-DD\" }}",
            route.provider
        )),
        (_, Some(price)) if price.source.trim().is_empty() => {
            Some(format!("price_from of the route to {} names no source", route.provider))
        }
        (Some(_), Some(_)) | (None, _) => None,
    }
}

fn check_schema(schema: &Value, at: usize, mistakes: &mut Vec<At>) {
    if schema["type"] != "object" || !schema["properties"].is_object() {
        mistakes.push((at, "an input is an object with properties".to_owned()));
    }
    if schema["additionalProperties"] != Value::Bool(false) {
        mistakes.push((at, "an input must say additionalProperties = false".to_owned()));
    }
}
