//! The fields of a small JSON object, read one after another; every fault is told at once.

use serde_json::{Map, Value};

use crate::{
    json::escape,
    problem::{FieldError, Problem},
};

/// What is left of the object, and what was wrong so far.
pub(crate) struct Fields {
    left: Map<String, Value>,
    faults: Vec<FieldError>,
}

impl Fields {
    pub(crate) fn of(body: Value) -> Result<Self, Problem> {
        match body {
            Value::Object(left) => Ok(Self { left, faults: Vec::new() }),
            _ => Err(Problem::invalid(vec![FieldError::new("", "must be an object")])),
        }
    }

    /// A text of 1 to `most` characters.
    pub(crate) fn text(&mut self, name: &str, most: usize) -> String {
        self.required(name).and_then(|value| self.as_text(name, value, most)).unwrap_or_default()
    }

    /// The same, which may be left out; null is the same as that.
    pub(crate) fn optional_text(&mut self, name: &str, most: usize) -> Option<String> {
        let value = self.left.remove(name).filter(|value| !value.is_null())?;
        self.as_text(name, value, most)
    }

    /// The same, where null says that there is to be none, and is told apart from a field that is not
    /// there.
    pub(crate) fn nullable_text(&mut self, name: &str, most: usize) -> Option<Option<String>> {
        match self.left.remove(name)? {
            Value::Null => Some(None),
            value => self.as_text(name, value, most).map(Some),
        }
    }

    /// A whole number.
    pub(crate) fn whole(&mut self, name: &str) -> i64 {
        let Some(value) = self.required(name) else { return 0 };
        value.as_i64().unwrap_or_else(|| {
            self.wrong(name, "must be a whole number");
            0
        })
    }

    /// One of these words.
    pub(crate) fn choice<T: Copy>(&mut self, name: &str, words: &[(&str, T)]) -> Option<T> {
        let value = self.required(name)?;
        let found = words.iter().find(|(word, _)| value == *word).map(|(_, meaning)| *meaning);
        if found.is_none() {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.wrong(name, format!("must be {}", words.join(" or ")));
        }
        found
    }

    /// The end: whatever is left is unknown.
    pub(crate) fn end(mut self) -> Result<(), Problem> {
        for name in std::mem::take(&mut self.left).into_iter().map(|(name, _)| name).take(20) {
            let name: String = name.chars().take(100).collect();
            self.wrong(&name, "is not a known field");
        }
        if self.faults.is_empty() { Ok(()) } else { Err(Problem::invalid(self.faults)) }
    }

    fn required(&mut self, name: &str) -> Option<Value> {
        let value = self.left.remove(name);
        if value.is_none() {
            self.wrong(name, "is required");
        }
        value
    }

    fn as_text(&mut self, name: &str, value: Value, most: usize) -> Option<String> {
        match value {
            Value::String(text) if (1..=most).contains(&text.chars().count()) => Some(text),
            _ => {
                self.wrong(name, format!("must be a text of 1 to {most} characters"));
                None
            }
        }
    }

    fn wrong(&mut self, name: &str, detail: impl Into<String>) {
        self.faults.push(FieldError::new(format!("/{}", escape(name)), detail));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_read() {
        let mut fields =
            Fields::of(json!({"a": "x", "b": null, "d": null, "n": -3, "c": "on"})).unwrap();
        assert_eq!(fields.text("a", 1), "x");
        assert_eq!(fields.optional_text("b", 1), None);
        assert_eq!(fields.nullable_text("d", 1), Some(None));
        assert_eq!(fields.nullable_text("d", 1), None);
        assert_eq!(fields.whole("n"), -3);
        assert_eq!(fields.choice("c", &[("on", true), ("off", false)]), Some(true));
        assert_eq!(fields.end(), Ok(()));
    }

    #[test]
    fn every_fault_is_told() {
        assert!(Fields::of(json!([])).is_err());
        let mut fields =
            Fields::of(json!({"a": "xy", "b": "", "n": 1.5, "c": "maybe", "more": 1})).unwrap();
        fields.text("a", 1);
        fields.optional_text("b", 1);
        fields.whole("n");
        fields.text("missing", 1);
        assert_eq!(fields.choice("c", &[("on", true)]), None);
        let pointers: Vec<_> = fields.faults.iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(pointers, ["/a", "/b", "/n", "/missing", "/c"]);
        assert!(fields.end().is_err());
    }
}
