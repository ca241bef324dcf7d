//! Which models a process knows. While new catalogues are rolled out, some processes know models that
//! others do not: a job of such a model is left to those that do.

use std::{collections::BTreeSet, sync::Arc};

use sea_orm::{DatabaseBackend, Value};

/// The models that a process knows; it claims no jobs of others. Cheap to clone.
#[derive(Debug, Clone)]
pub struct KnownModels(Option<Arc<BTreeSet<String>>>);

impl KnownModels {
    /// Whatever there is.
    pub const ALL: Self = Self(None);

    /// These.
    pub fn these(ids: impl IntoIterator<Item = String>) -> Self {
        Self(Some(Arc::new(ids.into_iter().collect())))
    }

    /// Whether this is one of them.
    #[must_use]
    pub fn contains(&self, model: &str) -> bool {
        self.0.as_ref().is_none_or(|ids| ids.contains(model))
    }

    /// The same as a condition on `jobs.model`, and its two values, which are `$first` and the one
    /// after it.
    pub(super) fn condition(&self, backend: DatabaseBackend, first: usize) -> (String, [Value; 2]) {
        let ids: Vec<String> = self.0.iter().flat_map(|ids| ids.iter().cloned()).collect();
        let (list, ids): (_, Value) = match backend {
            DatabaseBackend::Postgres => (format!("ANY(${})", first + 1), ids.into()),
            // A list of texts is written without fail.
            _ => {
                let text = serde_json::Value::from(ids).to_string();
                (format!("(SELECT value FROM json_each(${}))", first + 1), text.into())
            }
        };
        let word = if backend == DatabaseBackend::Postgres { "=" } else { "IN" };
        (format!("(${first} OR jobs.model {word} {list})"), [self.0.is_none().into(), ids])
    }
}
