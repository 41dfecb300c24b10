//! Changes of policies as clients request and show them: the documents to apply, the action taken
//! on each policy, and the difference that they would make.

mod difference;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use difference::differences;

/// A YAML or JSON document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// The name in errors, such as the file. At most 1,024 bytes.
    pub source: String,
    /// The content.
    pub text: String,
}

/// The change of one policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// The action taken.
    pub action: Action,
    /// Warnings for the policy's author.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// The action taken on a policy, as in kubectl.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, derive_more::Display)]
#[display(rename_all = "lowercase")]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// The policy was created.
    Created,
    /// The policy was changed.
    Configured,
    /// The policy was already as requested.
    Unchanged,
    /// The policy was deleted.
    Deleted,
}

/// The effect that applying documents would have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comparison {
    /// The places where sampling would change.
    pub differences: Vec<Difference>,
    /// Warnings for the policies' authors, by `NAMESPACE/NAME` of the policy.
    pub warnings: BTreeMap<String, Vec<String>>,
}

/// The sampling at a place, before and after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// The namespace.
    pub namespace: String,
    /// The service. If unset, all that no policy names.
    pub service: Option<String>,
    /// The operation. If unset, all others.
    pub operation: Option<String>,
    /// `head` or `tail`.
    pub part: String,
    /// The policy and setting in force now.
    pub before: Option<PlaceSetting>,
    /// The policy and setting that would be in force.
    pub after: Option<PlaceSetting>,
}

/// A policy's setting at a place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaceSetting {
    /// The policy.
    pub policy: String,
    /// The setting, such as `1%`.
    pub setting: String,
}
