//! Configuration as text, and hashes of it.

use serde_json::Value;
use xxhash_rust::xxh3::xxh3_64;

/// The value as YAML, with sorted keys.
#[must_use]
pub fn yaml(value: &Value) -> String {
    // A JSON value has only texts for keys, so writing it as YAML cannot fail.
    serde_yaml::to_string(value).unwrap_or_else(|_| value.to_string())
}

/// A hash for the name of something that depends on the text.
#[must_use]
pub fn hash(text: &str) -> String {
    format!("{:016x}", xxh3_64(text.as_bytes()))
}
