//! Checking a user's input against a model's schema, in words that say what to change.

use std::fmt;

use jsonschema::error::ValidationErrorKind as Kind;
use serde_json::{Number, Value};

/// The most mistakes that are told at once.
const TOLD: usize = 20;

/// A mistake in an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputError {
    /// Where, as a JSON Pointer (RFC 6901) into the input.
    pub pointer: String,
    /// What to change.
    pub detail: String,
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.pointer, self.detail)
    }
}

pub(super) fn validate(
    schema: &Value,
    validator: &jsonschema::Validator,
    input: &Value,
) -> Result<Value, Vec<InputError>> {
    let Value::Object(given) = input else {
        return Err(vec![InputError {
            pointer: String::new(),
            detail: "must be an object".into(),
        }]);
    };
    let mut filled = given.clone();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        if let (None, Some(default)) = (filled.get(name), field.get("default")) {
            filled.insert(name.clone(), default.clone());
        }
        if let (Some(value), Some("integer")) = (filled.get_mut(name), field["type"].as_str()) {
            make_integer(value);
        }
    }
    let filled = Value::Object(filled);
    let mut errors: Vec<InputError> = validator
        .iter_errors(&filled)
        .take(TOLD)
        .flat_map(|error| tell(schema, error.instance_path().as_str(), error.kind()))
        .collect();
    find_nul(&filled, &mut String::new(), &mut errors);
    if errors.is_empty() { Ok(filled) } else { Err(errors) }
}

/// `512.0` is an integer in JSON Schema; providers and prices want `512`.
fn make_integer(value: &mut Value) {
    let exact = value.as_f64().filter(|number| {
        value.is_f64() && number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0
    });
    if let Some(number) = exact {
        #[expect(clippy::cast_possible_truncation, reason = "a whole number of at most 2^53")]
        let whole = number as i64;
        *value = Value::Number(Number::from(whole));
    }
}

fn tell(schema: &Value, pointer: &str, kind: &Kind) -> Vec<InputError> {
    let one = |detail: String| vec![InputError { pointer: pointer.to_owned(), detail }];
    match kind {
        Kind::AdditionalProperties { unexpected } => unexpected
            .iter()
            .map(|name| InputError {
                pointer: format!("{pointer}/{}", escape(&short(name))),
                detail: unknown(schema, name),
            })
            .collect(),
        Kind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            let pointer = format!("{pointer}/{}", escape(name));
            vec![InputError { pointer, detail: "is required".into() }]
        }
        Kind::Type { kind } => one(match kind {
            jsonschema::error::TypeKind::Single(kind) => format!("must be of type {kind}"),
            jsonschema::error::TypeKind::Multiple(_) => "has a wrong type".to_owned(),
        }),
        Kind::Enum { options } => one(format!("must be one of {options}")),
        Kind::Minimum { limit } => one(format!("must be at least {limit}")),
        Kind::Maximum { limit } => one(format!("must be at most {limit}")),
        Kind::ExclusiveMinimum { limit } => one(format!("must be more than {limit}")),
        Kind::ExclusiveMaximum { limit } => one(format!("must be less than {limit}")),
        Kind::MinLength { limit: 1 } => one("must not be empty".to_owned()),
        Kind::MinLength { limit } => one(format!("must have at least {limit} characters")),
        Kind::MaxLength { limit } => one(format!("must have at most {limit} characters")),
        Kind::MinItems { limit } => one(format!("must have at least {limit} items")),
        Kind::MaxItems { limit } => one(format!("must have at most {limit} items")),
        other => one(format!("breaks the rule `{}` of the model's schema", other.keyword())),
    }
}

fn unknown(schema: &Value, name: &str) -> String {
    let known = schema["properties"].as_object().into_iter().flatten().map(|(known, _)| known);
    let near = known
        .map(|known| (distance(known, name), known))
        .filter(|(distance, _)| *distance <= 2)
        .min();
    match near {
        Some((_, known)) => format!("is not a field of this model; did you mean `{known}`?"),
        None => "is not a field of this model".to_owned(),
    }
}

/// Levenshtein's distance, for short names.
fn distance(left: &str, right: &str) -> usize {
    if right.len() > 64 {
        return usize::MAX;
    }
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.chars().enumerate() {
        let mut corner = i;
        row[0] = i + 1;
        for (j, r) in right.iter().enumerate() {
            let replaced = corner + usize::from(l != *r);
            corner = row[j + 1];
            row[j + 1] = replaced.min(corner + 1).min(row[j] + 1);
        }
    }
    row[right.len()]
}

fn short(name: &str) -> String {
    name.chars().take(64).collect()
}

/// RFC 6901, section 3.
pub(super) fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// Databases refuse U+0000 in texts.
fn find_nul(value: &Value, pointer: &mut String, errors: &mut Vec<InputError>) {
    match value {
        Value::String(text) if text.contains('\0') => errors.push(InputError {
            pointer: pointer.clone(),
            detail: "must not contain the character U+0000".into(),
        }),
        Value::Object(fields) => {
            for (name, value) in fields {
                let length = pointer.len();
                pointer.push('/');
                pointer.push_str(&escape(&short(name)));
                find_nul(value, pointer, errors);
                pointer.truncate(length);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                let length = pointer.len();
                pointer.push_str(&format!("/{index}"));
                find_nul(value, pointer, errors);
                pointer.truncate(length);
            }
        }
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
