//! What shall go wrong: rules that a test or a person adds while the simulator runs.

use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

/// One rule. It applies to requests whose text (usually the prompt) contains `when`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule<F> {
    /// Without it: to every request.
    #[serde(default)]
    pub when: Option<String>,
    /// How often; without it, always.
    #[serde(default)]
    pub times: Option<u32>,
    /// What goes wrong.
    pub fault: F,
}

impl<F> Rule<F> {
    /// For every request.
    pub fn always(fault: F) -> Self {
        Self { when: None, times: None, fault }
    }

    /// For the next request only.
    pub fn once(fault: F) -> Self {
        Self { when: None, times: Some(1), fault }
    }

    /// For requests with these words in their text.
    pub fn when(words: &str, fault: F) -> Self {
        Self { when: Some(words.to_owned()), times: None, fault }
    }
}

/// The rules in force.
#[derive(Debug)]
pub struct Rules<F>(Mutex<Vec<Rule<F>>>);

impl<F> Default for Rules<F> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<F: Clone> Rules<F> {
    /// Adds a rule; several can apply to one request.
    pub fn add(&self, rule: Rule<F>) {
        self.lock().push(rule);
    }

    /// Forgets all rules.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// The first fault that applies to a request with this text and that `pick` wants; uses up one
    /// of its times.
    pub fn take<T>(&self, text: &str, pick: impl Fn(&F) -> Option<T>) -> Option<T> {
        let mut rules = self.lock();
        let applies = |rule: &Rule<F>| {
            rule.times != Some(0) && rule.when.as_ref().is_none_or(|words| text.contains(words))
        };
        let (index, found) = rules
            .iter()
            .enumerate()
            .filter(|(_, rule)| applies(rule))
            .find_map(|(index, rule)| Some((index, pick(&rule.fault)?)))?;
        if let Some(times) = rules.get_mut(index).and_then(|rule| rule.times.as_mut()) {
            *times -= 1;
        }
        Some(found)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Rule<F>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_applies_as_often_as_it_says() {
        let rules = Rules::default();
        rules.add(Rule::once("lose"));
        rules.add(Rule::when("slow", "wait"));
        let any = |fault: &&'static str| Some(*fault);
        assert_eq!(rules.take("a slow one", any), Some("lose"));
        assert_eq!(rules.take("a slow one", any), Some("wait"));
        assert_eq!(rules.take("a slow one", any), Some("wait"));
        assert_eq!(rules.take("another", any), None);
        assert_eq!(rules.take("slow", |fault| (*fault == "lose").then_some(())), None);
        rules.clear();
        assert_eq!(rules.take("slow", any), None);
    }
}
