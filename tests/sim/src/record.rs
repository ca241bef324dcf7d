//! What a service accepted, and its bill: what a test holds the platform to.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use http::{HeaderMap, header};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::input::FileRead;

/// A request that the service accepted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The service's id of it.
    pub id: String,
    /// The service's name of the model.
    pub model: String,
    /// What was sent.
    pub input: Value,
    /// The files of it that were read.
    #[serde(default)]
    pub files: Vec<FileRead>,
    /// The header that let it in, as it was sent.
    pub authorization: String,
    /// Where the service was asked to report to.
    pub callback: Option<String>,
    /// How it ended; empty while it runs.
    pub ended: Option<String>,
    /// When, in microseconds since 1970.
    #[serde(default)]
    pub ended_at: Option<i64>,
    /// What is charged for it, in the service's units.
    pub billed_units: f64,
    /// The answers to its callbacks (0: none came).
    pub deliveries: Vec<u16>,
}

/// The `Authorization` header of a request; empty when there is none.
#[must_use]
pub fn authorization(headers: &HeaderMap) -> String {
    let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().to_owned()
}

impl Entry {
    /// Notes how it ended, now.
    pub fn end(&mut self, word: &str, units: f64) {
        self.ended = Some(word.to_owned());
        self.ended_at = Some(now());
        self.billed_units = units;
    }
}

#[expect(clippy::disallowed_methods, reason = "an outside service has a clock of its own")]
fn now() -> i64 {
    chrono::Utc::now().timestamp_micros()
}

/// Everything that was accepted, in order.
#[derive(Debug, Default)]
pub struct Record(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    entries: Vec<Entry>,
    places: HashMap<String, usize>,
}

impl Record {
    /// Notes a request that was accepted.
    pub fn accept(&self, entry: Entry) {
        let mut book = self.lock();
        let place = book.entries.len();
        book.places.insert(entry.id.clone(), place);
        book.entries.push(entry);
    }

    /// Changes what is known of a request.
    pub fn change(&self, id: &str, change: impl FnOnce(&mut Entry)) {
        let mut book = self.lock();
        let place = book.places.get(id).copied();
        if let Some(entry) = place.and_then(|place| book.entries.get_mut(place)) {
            change(entry);
        }
    }

    /// All of it.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        self.lock().entries.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
