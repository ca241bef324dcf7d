//! Mistakes in a model's entry that its shape allows, each with where it stands in the file.

use std::collections::BTreeMap;

use entities::catalogue::Price;
use serde_json::Value;
use toml::Spanned;

use super::{route::Route, worst::MostUnits};
use crate::settings::Providers;

/// A mistake and where it stands.
pub(super) type At = (usize, String);

/// The schema of an input: an object that names all its fields, whose defaults are what they may be.
pub(super) fn schema(schema: &Value, at: usize, mistakes: &mut Vec<At>) {
    if schema["type"] != "object" || !schema["properties"].is_object() {
        mistakes.push((at, "an input is an object with properties".to_owned()));
    }
    if schema["additionalProperties"] != Value::Bool(false) {
        mistakes.push((at, "an input must say additionalProperties = false".to_owned()));
    }
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !is_field(schema, name) {
            mistakes.push((at, format!("`{name}` is required, but it is no input")));
        }
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let Some(default) = field.get("default") else { continue };
        // A field whose schema is wrong is told with the schema as a whole.
        if jsonschema::validator_for(field).is_ok_and(|rule| !rule.is_valid(default)) {
            mistakes.push((at, format!("the default of `{name}` is not what `{name}` may be")));
        }
    }
}

/// A price depends on numbers that every input has.
pub(super) fn price(price: &Spanned<Price>, schema: &Value, mistakes: &mut Vec<At>) {
    let at = price.span().start;
    if price.get_ref().unit() < 1 {
        mistakes.push((at, "a price is at least 1 credit".to_owned()));
    }
    for field in price.get_ref().fields() {
        let what = needed(schema, field, is_number, "a number");
        mistakes.extend(what.map(|what| (at, format!("the price depends on `{field}`, {what}"))));
    }
}

/// A route of a model with this input schema.
pub(super) fn route(route: &Spanned<Route>, schema: &Value, mistakes: &mut Vec<At>) {
    let (at, route) = (route.span().start, route.get_ref());
    if !Providers::NAMES.contains(&route.provider()) {
        let (name, known) = (route.provider(), Providers::NAMES.join(", "));
        let what = format!("there is no provider {name:?}, only {known}");
        mistakes.push((route.provider.span().start, what));
    }
    if route.provider_model().trim().is_empty() {
        let what = "a route needs the provider's name of the model".to_owned();
        mistakes.push((route.provider_model.span().start, what));
    }
    fields(route, schema, mistakes);
    names(route, schema, at, mistakes);
    cost(route, schema, at, mistakes);
}

/// `rename`, `drop` and `texts` name fields that are there and to which they do something.
fn fields(route: &Route, schema: &Value, mistakes: &mut Vec<At>) {
    let mut told = |at: usize, rule: &str, field: &str, what: &str| {
        mistakes.push((at, format!("`{rule}` names `{field}`, {what}")));
    };
    if let Some(renamed) = &route.rename {
        for field in renamed.get_ref().keys() {
            if !is_field(schema, field) {
                told(renamed.span().start, "rename", field, "which is no input");
            } else if route.drops(field) {
                told(renamed.span().start, "rename", field, "which the provider does not get");
            }
        }
    }
    for field in route.drop.iter().flat_map(|fields| fields.get_ref()) {
        if !is_field(schema, field) {
            let at = route.drop.as_ref().map_or(0, |fields| fields.span().start);
            told(at, "drop", field, "which is no input");
        }
    }
    let Some(texts) = &route.texts else { return };
    for field in texts.get_ref() {
        let at = texts.span().start;
        if !is_field(schema, field) {
            told(at, "texts", field, "which is no input");
        } else if route.drops(field) {
            told(at, "texts", field, "which the provider does not get");
        } else if !is_number(&schema["properties"][field]) {
            told(at, "texts", field, "which is no number");
        }
    }
}

/// No two of what the provider gets have one name.
fn names(route: &Route, schema: &Value, at: usize, mistakes: &mut Vec<At>) {
    let at = route.rename.as_ref().map_or(at, |names| names.span().start);
    let mut taken: BTreeMap<&str, &str> = BTreeMap::new();
    for (field, _) in schema["properties"].as_object().into_iter().flatten() {
        if route.drops(field) {
            continue;
        }
        let name = route.name_of(field);
        if let Some(other) = taken.insert(name, field) {
            let what = format!("`{other}` and `{field}` would both be the provider's `{name}`");
            mistakes.push((at, what));
        }
    }
    let Some(constants) = &route.constants else { return };
    for name in constants.get_ref().keys() {
        if let Some(field) = taken.get(name.as_str()) {
            let what = format!("the constant `{name}` would be replaced by the input's `{field}`");
            mistakes.push((constants.span().start, what));
        }
    }
}

/// A route that costs something says how much, where that is from, and how much it can be.
fn cost(route: &Route, schema: &Value, at: usize, mistakes: &mut Vec<At>) {
    let provider = route.provider();
    let Some(unit) = &route.unit_usd_micros else {
        let rest = [
            ("most_units", route.most_units.as_ref().map(|most| most.span().start)),
            ("price_from", route.price_from.as_ref().map(|from| from.span().start)),
        ];
        for (rule, at) in rest {
            let what = format!("{rule} says nothing without unit_usd_micros");
            mistakes.extend(at.map(|at| (at, what)));
        }
        return;
    };
    if *unit.get_ref() == 0 {
        let what = "a route that costs nothing has no unit_usd_micros".to_owned();
        mistakes.push((unit.span().start, what));
    }
    match &route.price_from {
        None => mistakes.push((at, format!(
            "the route to {provider} costs something, so it needs price_from = {{ source = \"…\", read = \"YYYY-MM-DD\" }}"
        ))),
        Some(from) if from.get_ref().source.trim().is_empty() => {
            let what = format!("price_from of the route to {provider} names no source");
            mistakes.push((from.span().start, what));
        }
        Some(_) => {}
    }
    match &route.most_units {
        None => mistakes.push((at, format!(
            "the route to {provider} costs something, so it needs most_units, such as {{ per = \"file\", units = 1 }}: the most of the provider's billing units that a job can take"
        ))),
        Some(most) => most_units(most, schema, mistakes),
    }
}

fn most_units(most: &Spanned<MostUnits>, schema: &Value, mistakes: &mut Vec<At>) {
    let (at, most) = (most.span().start, most.get_ref());
    if most.numbers().contains(&0) {
        mistakes.push((at, "most_units are at least 1".to_owned()));
    }
    let choice = matches!(most, MostUnits::Choice { .. });
    let (fits, kind): (fn(&Value) -> bool, _) =
        if choice { (is_choice, "a choice of texts (an enum)") } else { (is_number, "a number") };
    for field in most.fields() {
        let what = needed(schema, field, fits, kind);
        mistakes.extend(what.map(|what| (at, format!("most_units depends on `{field}`, {what}"))));
    }
    let MostUnits::Choice { field, units } = most else { return };
    if !is_choice(&schema["properties"][field]) {
        return;
    }
    let choices: Vec<&str> = choices(&schema["properties"][field]).collect();
    for missing in choices.iter().filter(|choice| !units.contains_key(**choice)) {
        mistakes
            .push((at, format!("most_units does not say how many when `{field}` is {missing}")));
    }
    for strange in units.keys().filter(|choice| !choices.contains(&choice.as_str())) {
        mistakes.push((at, format!("most_units names {strange}, which `{field}` cannot be")));
    }
}

/// What is wrong with a field that must be in every input and be of some kind.
fn needed(schema: &Value, field: &str, fits: fn(&Value) -> bool, kind: &str) -> Option<String> {
    let required = schema["required"].as_array().into_iter().flatten().any(|name| name == field);
    let rule = schema["properties"].get(field);
    match rule {
        None => Some("which is no input".to_owned()),
        Some(rule) if !fits(rule) => Some(format!("which is not {kind}")),
        Some(rule) if !required && rule.get("default").is_none() => {
            Some("which is neither required nor has a default".to_owned())
        }
        Some(_) => None,
    }
}

fn is_field(schema: &Value, name: &str) -> bool {
    schema["properties"].get(name).is_some()
}

fn is_number(field: &Value) -> bool {
    field["type"] == "integer" || field["type"] == "number"
}

fn is_choice(field: &Value) -> bool {
    field["type"] == "string" && field["enum"].is_array()
}

fn choices(field: &Value) -> impl Iterator<Item = &str> {
    field["enum"].as_array().into_iter().flatten().filter_map(Value::as_str)
}
