//! Configuration as text.

use serde_json::Value;
use xxhash_rust::xxh3::xxh3_64;

/// The value as YAML, its keys in order.
#[must_use]
pub fn yaml(value: &Value) -> String {
    // A JSON value has only texts for keys: there is nothing that YAML can't say.
    serde_yaml::to_string(value).unwrap_or_else(|_| value.to_string())
}

/// Names a text, so that what depends on it changes with it.
#[must_use]
pub fn hash(text: &str) -> String {
    format!("{:016x}", xxh3_64(text.as_bytes()))
}
