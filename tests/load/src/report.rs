//! Results as rows of named values: printed as a table for people, or as JSON.

use serde_json::{Map, Value, json};

/// Named values, in the order in which they are read.
pub(crate) type Row = Vec<(&'static str, Value)>;

/// What one invocation found out.
#[derive(Debug)]
pub(crate) struct Report {
    machine: Row,
    rows: Vec<Row>,
    failures: Vec<String>,
}

impl Report {
    pub(crate) fn new(machine: Row) -> Self {
        Self { machine, rows: Vec::new(), failures: Vec::new() }
    }

    /// Adds a row; neighbours with the same names form one table.
    pub(crate) fn row(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Adds a fact about the servers to what is said about the machine.
    pub(crate) fn note(&mut self, name: &'static str, value: impl Into<Value>) {
        self.machine.push((name, value.into()));
    }

    /// Says that a target was missed; the program then ends with an error, after its table.
    pub(crate) fn fail(&mut self, what: String) {
        self.failures.push(what);
    }

    pub(crate) fn failures(&self) -> &[String] {
        &self.failures
    }

    pub(crate) fn json(&self) -> serde_json::Result<String> {
        let object = |row: &Row| -> Map<String, Value> {
            row.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
        };
        let results: Vec<_> = self.rows.iter().map(object).collect();
        serde_json::to_string_pretty(
            &json!({ "machine": object(&self.machine), "results": results }),
        )
    }

    pub(crate) fn table(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.machine {
            text += &format!("{name}: {}\n", plain(value));
        }
        let names = |row: &Row| row.iter().map(|(name, _)| *name).collect::<Vec<_>>();
        for group in self.rows.chunk_by(|a, b| names(a) == names(b)) {
            text.push('\n');
            text += &columns(group);
        }
        text.trim_end().to_owned()
    }
}

fn columns(rows: &[Row]) -> String {
    let Some(first) = rows.first() else { return String::new() };
    let mut lines = vec![first.iter().map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>()];
    lines.extend(rows.iter().map(|row| row.iter().map(|(_, value)| plain(value)).collect()));
    let widths: Vec<usize> = (0..first.len())
        .map(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0))
        .collect();
    lines
        .iter()
        .map(|line| {
            let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:>width$}"));
            cells.collect::<Vec<_>>().join("  ") + "\n"
        })
        .collect()
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_one_kind_are_one_table() {
        let mut report = Report::new(Vec::new());
        report.note("cores", 2);
        report.row(vec![("b", json!(1)), ("a", json!("long"))]);
        report.row(vec![("b", json!(100)), ("a", json!("x"))]);
        report.row(vec![("c", json!(2.5))]);
        assert_eq!(report.table(), "cores: 2\n\n  b     a\n  1  long\n100     x\n\n  c\n2.5");
    }
}
