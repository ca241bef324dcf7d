//! The sources of settings as flat layers: `section.key` and a value, with the place it came from.
//!
//! A later layer wins. A file is checked here for being TOML; what its values mean is not known yet.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use toml::{Table, Value};

use super::mistake::{Mistake, Place};

/// What `TIKTOMATO__SECTION__KEY` begins with.
pub(super) const PREFIX: &str = "TIKTOMATO__";

/// Names from outside that stand for one of our settings.
pub(super) const USUAL_NAMES: [(&str, &str); 8] = [
    ("DATABASE_URL", "database.url"),
    ("REDIS_URL", "redis.url"),
    ("FAL_KEY", "providers.fal_key"),
    ("HF_TOKEN", "providers.hf_token"),
    ("KIE_API_KEY", "providers.kie_api_key"),
    ("STRIPE_SECRET_KEY", "stripe.secret_key"),
    ("TIKTOMATO_DATA", "data.dir"),
    ("RUST_LOG", "log.filter"),
];

/// A value and where it came from.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) value: Value,
    pub(super) place: Place,
}

impl Entry {
    /// A variable set to nothing counts as not set.
    pub(super) fn is_blank(&self) -> bool {
        matches!(
            (&self.place, &self.value),
            (Place::Variable(_), Value::String(text)) if text.trim().is_empty()
        )
    }
}

/// One source: values by `section.key`.
pub(super) type Layer = BTreeMap<String, Entry>;

/// The TOML text of one source.
pub(super) fn text(text: &str, place: &Place) -> Result<Layer, String> {
    let table: Table = toml::from_str(text).map_err(|error| {
        // The error's own words would quote the line, which may hold a secret.
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        format!("line {}: {}", before.matches('\n').count() + 1, error.message())
    })?;
    let mut layer = Layer::new();
    flatten("", table, place, &mut layer);
    Ok(layer)
}

fn flatten(prefix: &str, table: Table, place: &Place, layer: &mut Layer) {
    for (name, value) in table {
        let key = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
        match value {
            Value::Table(inner) => flatten(&key, inner, place, layer),
            value => {
                layer.insert(key, Entry { value, place: place.clone() });
            }
        }
    }
}

/// The file named by `--config`.
pub(super) fn file(path: &Path) -> Result<Layer, Mistake> {
    let mistake = |problem| Mistake::File { path: PathBuf::from(path), problem };
    let content = std::fs::read_to_string(path)
        .map_err(|error| mistake(format!("the file cannot be read: {error}")))?;
    text(&content, &Place::File(path.to_owned())).map_err(mistake)
}

/// The environment: the usual names, and above them our own.
pub(super) fn environment(env: &BTreeMap<String, String>) -> [Layer; 2] {
    let entry = |name: &str, value: &str| Entry {
        value: Value::String(value.to_owned()),
        place: Place::Variable(name.to_owned()),
    };
    let usual = USUAL_NAMES
        .iter()
        .filter_map(|(name, key)| Some(((*key).to_owned(), entry(name, env.get(*name)?))));
    let own = env.iter().filter_map(|(name, value)| {
        let key = name.strip_prefix(PREFIX)?.to_lowercase().replace("__", ".");
        Some((key, entry(name, value)))
    });
    [usual.collect(), own.collect()]
}

/// `TIKTOMATO__SECTION__KEY` for `key`.
pub(super) fn own_variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase().replace('.', "__"))
}
