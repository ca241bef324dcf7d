//! Reads single settings out of the layers and collects every mistake on the way.
//!
//! A read that fails notes the mistake and returns `None`, so that the reads after it still
//! happen. The reader remembers what was asked for: whatever else a layer holds is unknown.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    ops::RangeInclusive,
    time::Duration,
};

use secrecy::SecretString;
use toml::Value;

use super::{
    layers::{self, Entry, Layer},
    mistake::{Mistake, Place},
    pools::{self, Pools},
};

pub(super) struct Reader {
    layers: Vec<Layer>,
    asked: BTreeSet<&'static str>,
    open: BTreeSet<&'static str>,
    pub(super) mistakes: Vec<Mistake>,
}

impl Reader {
    /// Later layers win.
    pub(super) fn new(layers: Vec<Layer>, mistakes: Vec<Mistake>) -> Self {
        Self { layers, asked: BTreeSet::new(), open: BTreeSet::new(), mistakes }
    }

    fn find(&mut self, key: &'static str) -> Option<Entry> {
        self.asked.insert(key);
        let entry = |layer: &Layer| layer.get(key).filter(|entry| !entry.is_blank()).cloned();
        self.layers.iter().rev().find_map(entry)
    }

    /// Notes that the value of `key` cannot be used.
    pub(super) fn bad(&mut self, key: &str, place: Place, problem: impl Into<String>) {
        let problem = problem.into();
        self.mistakes.push(Mistake::BadValue { key: key.to_owned(), place, problem });
    }

    /// Notes that the value of `key`, wherever it came from, cannot be used.
    pub(super) fn bad_here(&mut self, key: &'static str, problem: impl Into<String>) {
        let place = self.find(key).map_or(Place::BuiltIn, |entry| entry.place);
        self.bad(key, place, problem);
    }

    /// A setting without a fixed default: `Some(None)` when nobody sets it, `None` after a mistake.
    pub(super) fn optional<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<Option<T>> {
        let Some(entry) = self.find(key) else { return Some(None) };
        match single(&entry.value).and_then(|text| parse(text.trim())) {
            Ok(value) => Some(Some(value)),
            Err(problem) => {
                self.bad(key, entry.place, problem);
                None
            }
        }
    }

    /// A setting that `default.toml` sets; `None` after a mistake.
    pub(super) fn required<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.optional(key, parse)?;
        if value.is_none() {
            self.bad(key, Place::BuiltIn, "has no value");
        }
        value
    }

    /// A whole number.
    pub(super) fn number<T: TryFrom<i64>>(
        &mut self,
        key: &'static str,
        range: RangeInclusive<i64>,
    ) -> Option<T> {
        self.required(key, |text| {
            let fits = text.parse().ok().filter(|number| range.contains(number));
            fits.and_then(|number| T::try_from(number).ok()).ok_or_else(|| {
                let (low, high) = (range.start(), range.end());
                format!("must be a whole number from {low} to {high}, but is {text:?}")
            })
        })
    }

    /// A span of time in seconds, with decimals if need be.
    pub(super) fn seconds(
        &mut self,
        key: &'static str,
        range: RangeInclusive<f64>,
    ) -> Option<Duration> {
        self.required(key, |text| seconds(text, &range))
    }

    /// A span of time in whole days.
    pub(super) fn days(&mut self, key: &'static str) -> Option<Duration> {
        let days: u32 = self.number(key, 1..=3_650)?;
        Some(Duration::from_secs(u64::from(days) * 86_400))
    }

    /// A key for somebody else's service.
    pub(super) fn secret(&mut self, key: &'static str) -> Option<Option<SecretString>> {
        self.optional(key, |text| {
            if text.is_empty() || text.contains(char::is_whitespace) {
                return Err("must be one word; the value is not shown here".to_owned());
            }
            Ok(SecretString::from(text))
        })
    }

    /// A list of words: an array in a file, separated by commas in the environment.
    pub(super) fn list(&mut self, key: &'static str) -> Option<(Vec<String>, Place)> {
        let Some(Entry { value, place }) = self.find(key) else {
            return Some((Vec::new(), Place::BuiltIn));
        };
        let words = match value {
            Value::Array(items) => items
                .into_iter()
                .map(|item| if let Value::String(word) = item { Some(word) } else { None })
                .collect(),
            Value::String(text) => {
                Some(text.split(',').map(|word| word.trim().to_owned()).collect())
            }
            _ => None,
        };
        let Some(words) = words else {
            self.bad(key, place, "must be a list of texts, such as [\"…\", \"…\"]");
            return None;
        };
        Some((words, place))
    }

    /// The worker pools: `key` as one text replaces those below it, `key.name` sets one.
    pub(super) fn pools(&mut self, key: &'static str) -> Option<Pools> {
        self.asked.insert(key);
        self.open.insert(key);
        let mut sizes = BTreeMap::new();
        let mut problems = Vec::new();
        for layer in &self.layers {
            if let Some(entry) = layer.get(key).filter(|entry| !entry.is_blank()) {
                match single(&entry.value).and_then(|text| pools::list(&text)) {
                    Ok(all) => sizes = all,
                    Err(problem) => problems.push((key.to_owned(), entry.place.clone(), problem)),
                }
            }
            for (name, entry) in layer {
                let pool = name.strip_prefix(key).and_then(|rest| rest.strip_prefix('.'));
                let Some(pool) = pool.filter(|_| !entry.is_blank()) else { continue };
                match single(&entry.value).and_then(|text| pools::one(pool, &text)) {
                    Ok((pool, size)) => drop(sizes.insert(pool, size)),
                    Err(problem) => problems.push((name.clone(), entry.place.clone(), problem)),
                }
            }
        }
        let fine = problems.is_empty();
        for (key, place, problem) in problems {
            self.bad(&key, place, problem);
        }
        fine.then(|| Pools::from_sizes(sizes))
    }

    /// Notes every key and variable that nobody asked for.
    pub(super) fn refuse_unknown(&mut self, env: &BTreeMap<String, String>) {
        let known = |key: &str| {
            self.asked.contains(key)
                || self
                    .open
                    .iter()
                    .any(|open| key.strip_prefix(open).is_some_and(|rest| rest.starts_with('.')))
        };
        for (key, Entry { place, .. }) in self.layers.iter().flatten() {
            if known(key) {
                continue;
            }
            let nearest = nearest(key, &self.asked);
            self.mistakes.push(match place {
                Place::Variable(name) => Mistake::UnknownVariable {
                    name: name.clone(),
                    suggestion: nearest.map(layers::own_variable),
                },
                Place::BuiltIn | Place::File(_) => Mistake::UnknownKey {
                    place: place.clone(),
                    key: key.clone(),
                    suggestion: nearest.map(str::to_owned),
                },
            });
        }
        self.refuse_single_underscores(env);
    }

    /// `TIKTOMATO_GATEWAY_LISTEN` would otherwise be ignored in silence. Other names with one
    /// underscore are left alone: container platforms invent them from the service's name.
    fn refuse_single_underscores(&mut self, env: &BTreeMap<String, String>) {
        let plain = |name: &str| name.to_uppercase().replace("__", "_");
        let ours = |name: &&String| {
            !name.starts_with(layers::PREFIX)
                && !layers::USUAL_NAMES.iter().any(|(usual, _)| usual == *name)
        };
        for name in env.keys().filter(ours) {
            let meant = self.asked.iter().map(|key| layers::own_variable(key));
            if let Some(meant) = meant.into_iter().find(|known| plain(known) == plain(name)) {
                let (name, suggestion) = (name.clone(), Some(meant));
                self.mistakes.push(Mistake::UnknownVariable { name, suggestion });
            }
        }
    }

    #[cfg(test)]
    pub(super) fn asked(&self) -> impl Iterator<Item = &'static str> {
        self.asked.iter().copied()
    }
}

fn single(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Float(number) => Ok(number.to_string()),
        Value::Boolean(flag) => Ok(flag.to_string()),
        Value::Datetime(_) | Value::Array(_) | Value::Table(_) => {
            Err("must be one text, number, true or false".to_owned())
        }
    }
}

/// Seconds as a span, if they are in range.
pub(super) fn seconds(text: &str, range: &RangeInclusive<f64>) -> Result<Duration, String> {
    let fits = text.parse().ok().filter(|number| range.contains(number));
    fits.and_then(|number| Duration::try_from_secs_f64(number).ok()).ok_or_else(|| {
        let (low, high) = (range.start(), range.end());
        format!("must be a number of seconds from {low} to {high}, but is {text:?}")
    })
}

/// Parses with `FromStr`; the error says what was expected and what was found.
pub(super) fn from_str<T: std::str::FromStr>(
    expected: impl Display,
) -> impl FnOnce(&str) -> Result<T, String> {
    move |text| text.parse().map_err(|_| format!("must be {expected}, but is {text:?}"))
}

fn nearest<'a>(key: &str, known: &BTreeSet<&'a str>) -> Option<&'a str> {
    let farthest = (key.len() / 3).max(2);
    known
        .iter()
        .map(|known| (strsim::damerau_levenshtein(key, known), *known))
        .filter(|(distance, _)| *distance <= farthest)
        .min()
        .map(|(_, known)| known)
}
