//! Worker pools and their sizes: `fal=64`.

use std::{collections::BTreeMap, num::NonZeroUsize};

use serde::Serialize;

/// More calls at the same time than one process can have any use for.
const MOST: usize = 100_000;

/// Which pools run, and how many calls each makes at the same time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Pools(BTreeMap<String, NonZeroUsize>);

impl Pools {
    /// Leaves out the pools that are turned off by a size of 0.
    pub(super) fn from_sizes(sizes: BTreeMap<String, usize>) -> Self {
        let on = |(name, size)| Some((name, NonZeroUsize::new(size)?));
        Self(sizes.into_iter().filter_map(on).collect())
    }

    /// The pools in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, NonZeroUsize)> {
        self.0.iter().map(|(name, size)| (name.as_str(), *size))
    }

    /// How many calls the pool makes at the same time, if it runs.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<NonZeroUsize> {
        self.0.get(name).copied()
    }

    /// No pool runs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// `NAME=N,NAME=N`
pub(super) fn list(text: &str) -> Result<BTreeMap<String, usize>, String> {
    let mut sizes = BTreeMap::new();
    for part in text.split(',') {
        let (name, size) = pair(part)?;
        if sizes.insert(name.clone(), size).is_some() {
            return Err(format!("names the pool {name} twice"));
        }
    }
    Ok(sizes)
}

/// The size of the pool `name`.
pub(super) fn one(name: &str, size: &str) -> Result<(String, usize), String> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    if name.is_empty() || name.len() > 40 || !name.chars().all(fits) {
        return Err(format!(
            "the pool {name:?} must be named with 1 to 40 of a-z, 0-9, - and _, such as fal=64"
        ));
    }
    match size.trim().parse() {
        Ok(calls) if calls <= MOST => Ok((name.to_owned(), calls)),
        _ => Err(format!("the size of pool {name} must be from 0 to {MOST}, but is {size:?}")),
    }
}

fn pair(text: &str) -> Result<(String, usize), String> {
    let (name, size) =
        text.split_once('=').ok_or_else(|| format!("{text:?} must be NAME=N, such as fal=64"))?;
    one(name.trim(), size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_names_each_pool_once() {
        assert_eq!(list("fal=64, demo=0").unwrap().len(), 2);
        assert_eq!(list("a=1,a=2").unwrap_err(), "names the pool a twice");
        for bad in ["fal", "fal=", "fal=-1", "=3", "Fal=3", "a b=1", "fal=100001", "a=1,", ""] {
            assert!(list(bad).is_err(), "{bad}");
        }
    }
}
