//! Which fields of an input hold media: those whose schema says `format: "uri"`, and lists of such.
//!
//! A user gives an https URL, a data: URI or the id of an upload there; the job holds the id of an
//! upload.

use serde_json::Value;

fn is_media(schema: &Value) -> bool {
    schema["format"] == "uri" && schema["type"] == "string"
}

fn is_list(schema: &Value) -> bool {
    schema["type"] == "array" && is_media(&schema["items"])
}

/// The names of the fields.
pub(super) fn fields(schema: &Value) -> Vec<&str> {
    let properties = schema["properties"].as_object().into_iter().flatten();
    properties
        .filter(|(_, field)| is_media(field) || is_list(field))
        .map(|(name, _)| name.as_str())
        .collect()
}

/// Where a valid input holds media.
pub(super) fn pointers(schema: &Value, input: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for name in fields(schema) {
        let pointer = format!("/{}", super::input::escape(name));
        match input.get(name) {
            Some(Value::String(_)) => found.push(pointer),
            Some(Value::Array(items)) => {
                found.extend((0..items.len()).map(|index| format!("{pointer}/{index}")));
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn media_is_found_where_the_schema_says() {
        let uri = json!({"type": "string", "format": "uri"});
        let schema = json!({"properties": {
            "prompt": {"type": "string"}, "image": uri, "more": {"type": "array", "items": uri},
            "a/b": uri, "link": {"type": "string", "format": "email"},
        }});
        let input = json!({
            "prompt": "https://x", "image": "u", "more": ["u", "v"], "a/b": "w", "link": "x"
        });
        let mut found = pointers(&schema, &input);
        found.sort();
        assert_eq!(found, ["/a~1b", "/image", "/more/0", "/more/1"]);
        assert!(found.iter().all(|pointer| input.pointer(pointer).is_some()));
        assert!(pointers(&schema, &json!({"prompt": "x"})).is_empty());
    }
}
