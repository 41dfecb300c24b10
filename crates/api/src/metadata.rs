//! The metadata of resources.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The part of Kubernetes' `ObjectMeta` that Spoor reads, writes or preserves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
// Unknown fields are errors, so that misspelled ones are reported. `read` removes the server's
// fields first.
pub struct Metadata {
    /// The object's name, unique in its namespace.
    #[schemars(length(min = 1, max = 253), example = &"service-a")]
    pub name: String,
    /// The namespace. Defaults to `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), example = &"default")]
    pub namespace: Option<String>,
    /// Labels, by which objects can be selected.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations: arbitrary metadata.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Number that increases with each change to `spec`. Set by the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
    /// Creation time in RFC 3339. Set by the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"2027-01-01T12:00:00Z")]
    pub creation_timestamp: Option<String>,
    /// Version of the stored object. Set by the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_version: Option<String>,
    /// Unique ID, which differs between objects of the same name over time. Set by the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
}

impl Metadata {
    /// The metadata of an object of this name in the default namespace.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }
}
