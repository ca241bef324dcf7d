//! Whether a model's price covers what it can cost: for every input there is a route that fits, and
//! no route is there in vain. Otherwise jobs would be sold that nobody may make.
//!
//! Prices and costs rise and fall with the fields that they depend on, so that the ends of each
//! field's range, and all of its choices, stand for every value between.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{Model, check::At};

/// More combinations than this are not looked at.
const MOST: usize = 10_000;

/// What is wrong; `filled` is an input of the model in which defaults are filled in, `at` is where
/// the price stands.
pub(super) fn check(model: &Model, filled: &Map<String, Value>, at: usize) -> Vec<At> {
    let fields = fields(model);
    let mut useful = BTreeSet::new();
    for input in inputs(model, filled, &fields) {
        let shown = || {
            let shown = fields.iter().map(|field| format!("{field} = {}", input[*field]));
            shown.collect::<Vec<_>>().join(", ")
        };
        let Ok(resolved) = model.resolve(&input) else { continue };
        let fits = |(_, route): &(usize, &entities::catalogue::ResolvedRoute)| {
            route.fits(resolved.credits)
        };
        let fitting: Vec<usize> =
            resolved.routes.iter().enumerate().filter(fits).map(|(index, _)| index).collect();
        if fitting.is_empty() {
            let credits = resolved.credits;
            let cheapest = resolved.routes.iter().filter_map(|route| route.worst_usd_micros).min();
            let cost = cheapest.unwrap_or(i64::MAX).div_euclid(1_000);
            let input = shown();
            let when = if input.is_empty() { String::new() } else { format!(" with {input}") };
            return vec![(
                at,
                format!(
                    "the price is {credits} credits{when}, but the cheapest route can cost {cost} (1,000 credits are 1 USD)"
                ),
            )];
        }
        useful.extend(fitting);
    }
    let vain = model.routes.iter().enumerate().filter(|(index, _)| !useful.contains(index));
    vain.map(|(_, route)| {
        let what = "the price never covers what this route can cost, so it would never be used";
        (route.provider.span().start, what.to_owned())
    })
    .collect()
}

/// The fields that decide the price or a cost.
fn fields(model: &Model) -> BTreeSet<&str> {
    let costs = model.routes.iter().filter_map(|route| route.most_units.as_ref());
    let costs = costs.flat_map(|most| most.get_ref().fields());
    model.price.fields().into_iter().chain(costs).collect()
}

/// The input with every combination of the fields' ends and choices.
fn inputs(model: &Model, filled: &Map<String, Value>, fields: &BTreeSet<&str>) -> Vec<Value> {
    let mut inputs = vec![filled.clone()];
    for field in fields {
        let rule = &model.schema["properties"][*field];
        let mut values: Vec<Value> = rule["enum"].as_array().cloned().unwrap_or_default();
        if values.is_empty() {
            let ends = ["minimum", "maximum"].iter().filter_map(|end| rule.get(*end)).cloned();
            values = ends.chain(filled.get(*field).cloned()).collect();
        }
        let with = |input: &Map<String, Value>, value: &Value| {
            let mut input = input.clone();
            input.insert((*field).to_owned(), value.clone());
            input
        };
        inputs = inputs
            .iter()
            .flat_map(|input| values.iter().map(move |value| with(input, value)))
            .take(MOST)
            .collect();
    }
    inputs.into_iter().map(Value::Object).collect()
}
