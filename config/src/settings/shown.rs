//! How `check-config` shows values that are not plain text or numbers.

use std::time::Duration;

use secrecy::SecretString;
use serde::{Serialize, Serializer};

/// Whole seconds as a whole number.
pub(super) fn seconds<S: Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    match span.subsec_nanos() {
        0 => serializer.serialize_u64(span.as_secs()),
        _ => serializer.serialize_f64(span.as_secs_f64()),
    }
}

/// Days as a whole number.
pub(super) fn days<S: Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(span.as_secs() / 86_400)
}

/// Whether there is a secret.
pub(super) fn secret<S: Serializer>(
    secret: &Option<SecretString>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(if secret.is_some() { "set" } else { "not set" })
}

/// How many secrets there are.
pub(super) fn secrets<S: Serializer>(
    secrets: &[SecretString],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match secrets.len() {
        0 => serializer.serialize_str("not set"),
        count => serializer.collect_str(&format_args!("set ({count})")),
    }
}

/// A value that may be missing.
pub(super) fn or_not_set<T: Serialize, S: Serializer>(
    value: &Option<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => value.serialize(serializer),
        None => serializer.serialize_str("not set"),
    }
}
