//! The words of a prompt, for rules that look for some of them.

/// A prompt's words, in lower case.
#[derive(Debug, Clone)]
pub(super) struct Words(Vec<String>);

impl Words {
    pub(super) fn of(prompt: &str) -> Self {
        let words = prompt.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
        Self(words.map(str::to_lowercase).collect())
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Whether any word of the prompt is one of `known`.
    pub(super) fn any(&self, known: &[&str]) -> bool {
        self.count(known) > 0
    }

    /// How many words of the prompt are among `known`.
    pub(super) fn count(&self, known: &[&str]) -> usize {
        self.all().filter(|word| is(word, known)).count()
    }
}

/// Whether `word` is one of `known`, in the singular or the plural.
fn is(word: &str, known: &[&str]) -> bool {
    let singular = word.strip_suffix('s').unwrap_or(word);
    let stem = word.strip_suffix("es").unwrap_or(word);
    known.iter().any(|&k| k == word || k == singular || k == stem)
}
