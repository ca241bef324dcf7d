//! Reading the catalogue's file, and every mistake in it.

use std::{collections::BTreeMap, fmt};

use entities::{
    catalogue::{ModelId, Price},
    job::Kind,
};
use serde::Deserialize;
use serde_json::Value;
use toml::Spanned;

use super::{
    Model,
    check::{self, At},
    cover,
    route::Route,
};

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
    description: Spanned<String>,
    median_seconds: Option<Spanned<f64>>,
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
    if entry.description.get_ref().trim().is_empty() {
        let at = entry.description.span().start;
        mistakes.push((at, "a model needs a description".to_owned()));
    }
    if let Some(seconds) = &entry.median_seconds
        && !(seconds.get_ref().is_finite() && *seconds.get_ref() > 0.0)
    {
        let what = "median_seconds are above zero".to_owned();
        mistakes.push((seconds.span().start, what));
    }
    let schema = entry.input.into_inner();
    check::schema(&schema, schema_at, &mut mistakes);
    let validator = jsonschema::validator_for(&schema)
        .map_err(|error| {
            mistakes.push((schema_at, format!("the input's schema is wrong: {error}")))
        })
        .ok();
    check::price(&entry.price, &schema, &mut mistakes);
    if entry.routes.is_empty() {
        mistakes.push((id_at, "a model needs a route".to_owned()));
    }
    for route in &entry.routes {
        check::route(route, &schema, &mut mistakes);
    }
    let (Some(id), Some(validator)) = (id, validator) else { return Err(mistakes) };
    let model = Model {
        id,
        kind: entry.kind,
        description: entry.description.into_inner(),
        median_seconds: entry.median_seconds.map(Spanned::into_inner),
        price: entry.price.into_inner(),
        schema,
        validator,
        example: entry.example.into_inner(),
        routes: entry.routes.into_iter().map(Spanned::into_inner).collect(),
    };
    if mistakes.is_empty() {
        mistakes = worked_through(&model, example_at, price_at);
    }
    if mistakes.is_empty() { Ok(model) } else { Err(mistakes) }
}

/// What is wrong with the example, or else with the price of what is like it.
fn worked_through(model: &Model, example_at: usize, price_at: usize) -> Vec<At> {
    let tried = model.validate(&model.example).and_then(|input| {
        model.resolve(&input)?;
        Ok(input)
    });
    match tried {
        Ok(Value::Object(filled)) => cover::check(model, &filled, price_at),
        Ok(_) => Vec::new(),
        Err(errors) => {
            let told = |error| (example_at, format!("the example does not work: {error}"));
            errors.into_iter().map(told).collect()
        }
    }
}
