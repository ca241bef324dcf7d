use serde_json::json;

use super::*;

fn sketch() -> Catalogue {
    Catalogue::built_in().unwrap()
}

#[test]
fn defaults_are_filled_in_and_priced() {
    let catalogue = sketch();
    let model = catalogue.get(&"demo/sketch".parse().unwrap()).unwrap();
    let input = model.validate(&json!({"prompt": "x", "count": 3.0})).unwrap();
    assert_eq!(input["width"], 512);
    assert_eq!(input["count"], json!(3));
    let resolved = model.resolve(&input).unwrap();
    assert_eq!((resolved.credits, resolved.outputs), (Credits(30), 3));
    assert_eq!(resolved.routes[0].input, input);
}

#[test]
fn mistakes_say_where_and_what_to_change() {
    let catalogue = sketch();
    let model = catalogue.get(&"demo/sketch".parse().unwrap()).unwrap();
    let errors = |input| {
        let errors = model.validate(&input).unwrap_err();
        errors.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(errors(json!({})), ["/prompt is required"]);
    assert_eq!(errors(json!([])), [" must be an object"]);
    assert_eq!(errors(json!({"prompt": "x", "width": 4096})), ["/width must be at most 2048"]);
    assert_eq!(
        errors(json!({"prompt": "x", "widht": 1})),
        ["/widht is not a field of this model; did you mean `width`?"]
    );
    assert_eq!(errors(json!({"prompt": 5})), ["/prompt must be of type string"]);
    assert_eq!(
        errors(json!({"prompt": "a\0b"})),
        ["/prompt must not contain the character U+0000"]
    );
    let long = "é".repeat(5001);
    assert_eq!(errors(json!({"prompt": long})), ["/prompt must have at most 5000 characters"]);
    assert!(model.validate(&json!({"prompt": "é".repeat(5000)})).is_ok());
    for number in [json!(1e300), json!(-1), json!(0.5), json!(u64::MAX), json!(null)] {
        assert!(model.validate(&json!({"prompt": "x", "width": number})).is_err());
    }
}

#[test]
fn a_mistake_in_the_file_names_its_line() {
    let text = include_str!("../../models.toml");
    let mistakes = |text: &str| {
        let mistakes = Catalogue::load(text, "my.toml").unwrap_err();
        mistakes.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let line = |part: &str| text[..text.find(part).unwrap()].matches('\n').count() + 1;
    let typo = mistakes(&text.replacen("median_seconds", "median_secs", 1));
    assert!(
        typo[0].starts_with(&format!("my.toml line {}: unknown field", line("median_seconds"))),
        "{typo:?}"
    );
    let twice = mistakes(&text.replace("demo/clip", "demo/sketch"));
    assert!(twice[0].ends_with("the model demo/sketch is there twice"), "{twice:?}");
    let field = mistakes(&text.replace("count = \"count\"", "count = \"number\""));
    assert!(field[0].contains("depends on `number`"), "{field:?}");
    let example = mistakes(&text.replace("width = 512, height = 512 }", "width = 5 }"));
    assert!(example[0].contains("must be at least 64"), "{example:?}");
    assert_eq!(mistakes("[[model]]\nid =").len(), 1);
    let cost = text.find("\nprice_from").unwrap() + 1;
    let sourceless = format!("{}#{}", &text[..cost], &text[cost..]);
    let sourceless = mistakes(&sourceless);
    let route = text[..cost].rfind("[[model.routes]]").unwrap();
    let line = text[..route].matches('\n').count() + 1;
    assert_eq!(sourceless.len(), 1);
    assert!(sourceless[0].starts_with(&format!("my.toml line {line}: ")), "{sourceless:?}");
    assert!(sourceless[0].contains("price_from"), "{sourceless:?}");
}

#[test]
fn costs_that_are_not_the_providers_own_word_are_told() {
    let unconfirmed = sketch().unconfirmed();
    assert!(unconfirmed.contains(&"fal/flux-dev at fal".to_owned()), "{unconfirmed:?}");
    assert!(!unconfirmed.contains(&"fal/flux-pro-ultra at fal".to_owned()), "{unconfirmed:?}");
    assert!(!unconfirmed.iter().any(|route| route.starts_with("demo/")), "{unconfirmed:?}");
}

#[test]
fn a_route_renames_and_writes_numbers_as_texts() {
    let catalogue = sketch();
    let model = catalogue.get(&"fal/kling-video".parse().unwrap()).unwrap();
    let input = model.validate(&json!({"prompt": "x", "duration_seconds": 10})).unwrap();
    let resolved = model.resolve(&input).unwrap();
    assert_eq!(resolved.credits, Credits(940));
    let route = &resolved.routes[0];
    assert_eq!((&route.input["duration"], &route.input["cfg_scale"]), (&json!("10"), &json!(0.5)));
    assert!(route.input.get("duration_seconds").is_none());
    assert_eq!(route.unit_usd_micros, Some(70_000));
}

#[test]
fn a_seed_keeps_all_its_digits() {
    let catalogue = sketch();
    let model = catalogue.get(&"fal/flux-dev".parse().unwrap()).unwrap();
    let seed = 9_007_199_254_740_993_u64;
    let input = model.validate(&json!({"prompt": "x", "seed": seed})).unwrap();
    assert_eq!(model.resolve(&input).unwrap().routes[0].input["seed"].as_u64(), Some(seed));
}

#[test]
fn models_without_a_provider_are_not_offered() {
    assert_eq!(sketch().providers()["demo"], 2);
    assert!(sketch().providers()["fal"] >= 5);
    let offered = sketch().offering(|provider| provider == "demo");
    let ids: Vec<&str> = offered.list().map(|model| model.id().as_str()).collect();
    assert_eq!(ids, ["demo/clip", "demo/sketch"]);
}

/// The worst costs of a model's routes, for an input like its example.
fn worst(model: &str, more: Value) -> Vec<Option<i64>> {
    let catalogue = sketch();
    let model = catalogue.get(&model.parse().unwrap()).unwrap();
    let mut input = model.example().clone();
    for (name, value) in more.as_object().unwrap() {
        input[name] = value.clone();
    }
    let resolved = model.resolve(&model.validate(&input).unwrap()).unwrap();
    resolved.routes.iter().map(|route| route.worst_usd_micros).collect()
}

#[test]
fn the_most_that_a_route_can_cost_follows_from_the_input() {
    for (model, more, expected) in [
        ("demo/sketch", json!({"count": 4}), vec![None]),
        ("fal/flux-schnell", json!({"image_size": "square"}), vec![Some(3_000)]),
        ("fal/flux-schnell", json!({"image_size": "square_hd", "count": 4}), vec![Some(24_000)]),
        ("fal/flux-dev-image", json!({"count": 2}), vec![Some(120_000)]),
        ("fal/nano-banana", json!({"count": 3}), vec![Some(117_000)]),
        ("fal/kling-video", json!({"duration_seconds": 10}), vec![Some(700_000)]),
        ("qwen/qwen-image", json!({}), vec![Some(20_000), Some(40_000)]),
        ("wan-ai/wan2.2-t2v", json!({}), vec![Some(250_000), Some(200_000)]),
        ("kling/kling-3.0", json!({"duration_seconds": 15}), vec![Some(1_500_000)]),
    ] {
        assert_eq!(worst(model, more.clone()), expected, "{model} {more}");
    }
}

#[test]
fn every_route_that_costs_something_is_covered_by_the_price() {
    let catalogue = sketch();
    for model in catalogue.list() {
        let resolved = model.resolve(&model.validate(model.example()).unwrap()).unwrap();
        for route in &resolved.routes {
            assert_eq!(route.worst_usd_micros.is_some(), route.provider != "demo", "{route:?}");
            assert!(route.fits(resolved.credits), "{}: {route:?}", model.id());
            let (cost, held) = (route.worst_usd_micros.unwrap_or(0), resolved.credits.0);
            assert!(cost == 0 || !route.fits(Credits((cost - 1) / 1_000)), "{held}: {route:?}");
        }
    }
    assert!(catalogue.routes().len() > catalogue.list().count());
}
