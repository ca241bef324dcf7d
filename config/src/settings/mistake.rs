//! What can be wrong with settings, each as one sentence that says what to change.
//!
//! A mistake never repeats a secret: parsers of secrets describe the fault without the value.

use std::path::PathBuf;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// `default.toml`, which is part of the program.
    BuiltIn,
    /// The file named by `--config`.
    File(PathBuf),
    /// An environment variable.
    Variable(String),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::BuiltIn => f.write_str("the built-in defaults"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Variable(name) => f.write_str(name),
        }
    }
}

/// One mistake in the settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mistake {
    /// The file could not be read, or is not TOML.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A setting that does not exist.
    #[error("{place}: there is no setting `{key}`{}", hint(suggestion.as_deref()))]
    UnknownKey {
        /// Where it was found.
        place: Place,
        /// What was written.
        key: String,
        /// The existing key that is most like it.
        suggestion: Option<String>,
    },
    /// A variable of ours that names no setting.
    #[error("the environment variable {name} names no setting{}", hint(suggestion.as_deref()))]
    UnknownVariable {
        /// The variable.
        name: String,
        /// The existing variable that is most like it.
        suggestion: Option<String>,
    },
    /// A value that cannot be used.
    #[error("{key} (from {place}): {problem}")]
    BadValue {
        /// The setting.
        key: String,
        /// Where its value came from.
        place: Place,
        /// What is wrong, and what to write instead.
        problem: String,
    },
    /// A setting that this command needs.
    #[error("{variable} is not set: {why}")]
    Missing {
        /// The variable to set.
        variable: String,
        /// Who needs it, and what to write.
        why: String,
    },
}

fn hint(suggestion: Option<&str>) -> String {
    suggestion.map_or_else(String::new, |known| format!("; did you mean `{known}`?"))
}
