//! What a service accepted, and its bill: what a test holds the platform to.

use std::sync::{Mutex, PoisonError};

use http::{HeaderMap, header};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A request that the service accepted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The service's id of it.
    pub id: String,
    /// The service's name of the model.
    pub model: String,
    /// What was sent.
    pub input: Value,
    /// The header that let it in, as it was sent.
    pub authorization: String,
    /// Where the service was asked to report to.
    pub callback: Option<String>,
    /// How it ended; empty while it runs.
    pub ended: Option<String>,
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

/// Everything that was accepted, in order.
#[derive(Debug, Default)]
pub struct Record(Mutex<Vec<Entry>>);

impl Record {
    /// Notes a request that was accepted.
    pub fn accept(&self, entry: Entry) {
        self.lock().push(entry);
    }

    /// Changes what is known of a request.
    pub fn change(&self, id: &str, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.lock().iter_mut().find(|entry| entry.id == id) {
            change(entry);
        }
    }

    /// All of it.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
