//! What would go wrong later is a mistake in the file, at its line.

use super::*;

const MODEL: &str = r#"
[[model]]
id = "a/b"
kind = "image"
description = "A model."
median_seconds = 1.0
price = { per = "image", credits = 20, count = "count" }
example = { prompt = "x", size = "small", seconds = 2 }
[model.input]
type = "object"
additionalProperties = false
required = ["prompt", "size"]
[model.input.properties]
prompt = { type = "string" }
size = { type = "string", enum = ["small", "large"] }
count = { type = "integer", minimum = 1, maximum = 4, default = 1 }
seconds = { type = "integer", minimum = 1, maximum = 4 }
[[model.routes]]
provider = "fal"
provider_model = "m"
rename = { count = "n" }
drop = ["seconds"]
texts = ["count"]
constants = { safe = true }
unit_usd_micros = 10000
price_from = { source = "a page", read = "2026-11-26" }
most_units = { per = "choice", field = "size", units = { small = 1, large = 2 } }
"#;

/// The mistakes after `from` became `to`, and the line where `from` stood.
fn after(from: &str, to: &str) -> (Vec<String>, usize) {
    let at = MODEL.find(from).unwrap_or_else(|| panic!("{from}"));
    let text = MODEL.replacen(from, to, 1);
    let mistakes = Catalogue::load(&text, "my.toml").expect_err(to);
    (mistakes.iter().map(ToString::to_string).collect(), MODEL[..at].matches('\n').count() + 1)
}

/// There is exactly this mistake, at the line that was changed.
fn is_told(from: &str, to: &str, what: &str) {
    let (mistakes, line) = after(from, to);
    assert_eq!(mistakes.len(), 1, "{to}: {mistakes:?}");
    assert!(mistakes[0].starts_with(&format!("my.toml line {line}: ")), "{line}: {mistakes:?}");
    assert!(mistakes[0].contains(what), "{what}: {mistakes:?}");
}

#[test]
fn without_a_mistake_it_is_read() {
    assert_eq!(Catalogue::load(MODEL, "my.toml").unwrap().list().count(), 1);
}

#[test]
fn rules_of_a_route_name_inputs_to_which_they_do_something() {
    for (from, to, what) in [
        ("rename = { count", "rename = { number", "`rename` names `number`, which is no input"),
        ("rename = { count", "rename = { seconds", "which the provider does not get"),
        ("drop = [\"seconds\"]", "drop = [\"secs\", \"seconds\"]", "`drop` names `secs`"),
        (
            "texts = [\"count\"]",
            "texts = [\"counts\"]",
            "`texts` names `counts`, which is no input",
        ),
        ("texts = [\"count\"]", "texts = [\"prompt\"]", "`prompt`, which is no number"),
        ("texts = [\"count\"]", "texts = [\"seconds\"]", "which the provider does not get"),
    ] {
        is_told(from, to, what);
    }
}

#[test]
fn the_provider_gets_no_two_things_of_one_name() {
    let both = "would both be the provider's";
    is_told("rename = { count = \"n\" }", "rename = { count = \"n\", size = \"n\" }", both);
    is_told("rename = { count = \"n\" }", "rename = { count = \"prompt\" }", both);
    is_told("constants = { safe", "constants = { n", "would be replaced by the input's `count`");
    is_told("constants = { safe", "constants = { prompt", "by the input's `prompt`");
}

#[test]
fn providers_and_models_have_names() {
    is_told("provider = \"fal\"", "provider = \"fall\"", "no provider \"fall\", only demo, fal,");
    is_told("provider_model = \"m\"", "provider_model = \" \"", "the provider's name of the model");
    is_told("description = \"A model.\"", "description = \"\"", "needs a description");
    is_told("median_seconds = 1.0", "median_seconds = 0.0", "above zero");
    is_told("median_seconds = 1.0", "median_seconds = nan", "above zero");
    is_told("id = \"a/b\"", "id = \"A/b\"", "owner/name");
}

#[test]
fn costs_are_told_whole() {
    let most =
        "most_units = { per = \"choice\", field = \"size\", units = { small = 1, large = 2 } }";
    let with = |to: &str, what: &str| is_told(most, to, what);
    with("most_units = { per = \"file\", units = 0 }", "at least 1");
    with("most_units = { per = \"file\" }", "missing field `units`");
    with("most_units = { per = \"day\", units = 1 }", "unknown variant `day`");
    with("most_units = { per = \"second\", units = 1, duration = \"secs\" }", "which is no input");
    with("most_units = { per = \"second\", units = 1, duration = \"size\" }", "not a number");
    // Optional, and without a default.
    with(
        "most_units = { per = \"second\", units = 1, duration = \"seconds\" }",
        "neither required",
    );
    let choice = |units: &str| {
        format!("most_units = {{ per = \"choice\", field = \"size\", units = {{ {units} }} }}")
    };
    with(&choice("small = 1"), "how many when `size` is large");
    with(&choice("small = 1, large = 1, huge = 2"), "names huge");
    with(&choice("small = 1, large = 2").replace("\"size\"", "\"prompt\""), "a choice of texts");
    is_told("unit_usd_micros = 10000", "unit_usd_micros = 0", "has no unit_usd_micros");
    let (mistakes, line) = after("unit_usd_micros = 10000\n", "\n");
    assert_eq!(
        mistakes,
        [
            format!("my.toml line {}: most_units says nothing without unit_usd_micros", line + 2),
            format!("my.toml line {}: price_from says nothing without unit_usd_micros", line + 1),
        ]
    );
    let (mistakes, _) = after(most, "");
    assert!(mistakes.len() == 1 && mistakes[0].contains("so it needs most_units"), "{mistakes:?}");
    is_told("source = \"a page\"", "source = \" \"", "names no source");
}

#[test]
fn a_price_depends_on_numbers_that_are_there_and_covers_the_cost() {
    let price = "price = { per = \"image\", credits = 20, count = \"count\" }";
    let with = |to: &str, what: &str| is_told(price, to, what);
    with("price = { per = \"image\", credits = 0, count = \"count\" }", "at least 1 credit");
    with("price = { per = \"image\", credits = 20, count = \"size\" }", "not a number");
    with("price = { per = \"second\", credits = 20, duration = \"seconds\" }", "neither required");
    with(
        "price = { per = \"image\", credits = 19, count = \"count\" }",
        "19 credits with count = 1, size = \"large\", but the cheapest route can cost 20",
    );
    with("price = { per = \"flat\", credits = 19 }", "can cost 20");
}

#[test]
fn a_route_that_no_price_covers_is_told() {
    let more = "[[model.routes]]\nprovider = \"kieai\"\nprovider_model = \"k\"\n\
        unit_usd_micros = 50000\nprice_from = { source = \"a page\", read = \"2026-11-26\" }\n\
        most_units = { per = \"file\", units = 1 }\n";
    let mistakes = Catalogue::load(&format!("{MODEL}{more}"), "my.toml").unwrap_err();
    let line = MODEL.matches('\n').count() + 2;
    assert_eq!(mistakes.len(), 1, "{mistakes:?}");
    let told = mistakes[0].to_string();
    assert!(
        told.starts_with(&format!("my.toml line {line}: ")) && told.contains("never"),
        "{told}"
    );
}

#[test]
fn schemas_and_examples_are_what_they_say() {
    let (mistakes, _) =
        after("required = [\"prompt\", \"size\"]", "required = [\"promt\", \"size\"]");
    assert!(mistakes[0].contains("`promt` is required, but it is no input"), "{mistakes:?}");
    let (mistakes, _) = after("maximum = 4, default = 1", "maximum = 4, default = 5");
    assert!(mistakes[0].contains("the default of `count`"), "{mistakes:?}");
    for (to, what) in [
        ("example = { prompt = 5, size = \"small\" }", "/prompt must be of type string"),
        ("example = { size = \"small\" }", "/prompt is required"),
        ("example = { prompt = \"x\", size = \"small\", colour = 1 }", "/colour is not a field"),
    ] {
        is_told("example = { prompt = \"x\", size = \"small\", seconds = 2 }", to, what);
    }
}
