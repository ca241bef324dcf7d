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

#[test]
fn a_route_whose_worst_cost_is_not_covered_does_not_fit() {
    let catalogue = Catalogue::built_in().unwrap();
    for model in catalogue.list() {
        let input = model.validate(model.example()).unwrap();
        let resolved = model.resolve(&input).unwrap();
        for route in &resolved.routes {
            let at_a_loss = route.worst_usd_micros;
            assert!(route.fits(resolved.credits), "{}: {at_a_loss:?}", model.id());
        }
    }
    let model = catalogue.get(&"qwen/qwen-image".parse().unwrap()).unwrap();
    let input = model.validate(model.example()).unwrap();
    let resolved = model.resolve(&input).unwrap();
    let worst: Vec<_> = resolved.routes.iter().map(|route| route.worst_usd_micros).collect();
    assert_eq!(worst, [None, Some(40_000)]);
    assert!(resolved.routes[1].fits(Credits(40)) && !resolved.routes[1].fits(Credits(39)));
    assert!(catalogue.routes().len() > catalogue.list().count());
}
