//! What the lab's API takes and gives, as JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use spoor_policy::Version;

/// Files to apply or compare, all or none.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Documents {
    /// Each may hold several policies.
    pub documents: Vec<Document>,
}

/// A file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// What errors call it.
    pub source: String,
    /// YAML or JSON.
    pub text: String,
}

impl From<Version> for VersionText {
    fn from(version: Version) -> Self {
        Self {
            epoch: version.epoch,
            sequence: version.sequence,
        }
    }
}

/// What became of what was sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Applied {
    /// Each policy, in the order in which it was sent.
    pub policies: Vec<Change>,
    /// What is published now.
    pub version: VersionText,
}

/// What became of one policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// What was done.
    pub action: Action,
    /// What its author should know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// What was done with a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It is new.
    Created,
    /// It is not what it was.
    Configured,
    /// It is what it was.
    Unchanged,
    /// It is gone.
    Deleted,
}

impl Action {
    /// As JSON and people have it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
            Self::Deleted => "deleted",
        }
    }
}

/// A published version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionText {
    /// The lab's start, in Unix nanoseconds.
    pub epoch: u64,
    /// Counts the publications since.
    pub sequence: u64,
}

/// Whether all instances have what is published.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Convergence {
    /// Whether they all do.
    pub converged: bool,
    /// From the publication to the last acknowledgement; none if no instance had to be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub milliseconds: Option<f64>,
    /// How many instances there are.
    pub expected: usize,
    /// Those that have not acknowledged it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<String>,
    /// Why policies have not converged, each with the policy's name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
}

/// What applying files would change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comparison {
    /// Every place where something else would hold.
    pub differences: Vec<Difference>,
    /// What the authors of the files' policies should know, by policy.
    pub warnings: BTreeMap<String, Vec<String>>,
}

/// What is sampled at a place, before and after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// The namespace.
    pub namespace: String,
    /// The service; none: every one that no policy names.
    pub service: Option<String>,
    /// The operation; none: all others.
    pub operation: Option<String>,
    /// `head` or `tail`.
    pub part: String,
    /// What holds now, and whose word that is.
    pub before: Option<Says>,
    /// What would hold.
    pub after: Option<Says>,
}

/// What a policy says at a place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Says {
    /// The policy.
    pub policy: String,
    /// What it says there.
    pub setting: String,
}

/// A fault to inject into a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FaultSetting {
    /// The server span's name; none: every operation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// Added to each request.
    #[serde(default)]
    pub delay_milliseconds: u64,
    /// The share of requests that fail, such as `20%`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errors: Option<String>,
}

/// All faults, by service.
pub type Faults = BTreeMap<String, Vec<FaultSetting>>;

/// How the lab does.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// What is published.
    pub version: VersionText,
    /// Where everything is, by name.
    pub urls: BTreeMap<String, String>,
    /// The services.
    pub services: Vec<ServiceStatus>,
    /// Everybody whom the control plane knows.
    pub instances: Vec<InstanceStatus>,
    /// The watched folder, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder: Option<FolderStatus>,
}

/// How a service does.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceStatus {
    /// Its name.
    pub name: String,
    /// `waiting`, `starting`, `ready` or `stopped`.
    pub state: String,
    /// Its process, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Its `service.instance.id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// How often it was started again.
    pub restarts: u32,
}

/// How an instance stands with the control plane.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InstanceStatus {
    /// Its service.
    pub service: String,
    /// Its `service.instance.id`.
    pub instance: String,
    /// Whether it should be there.
    pub expected: bool,
    /// Whether its stream is open.
    pub connected: bool,
    /// Whether it holds what is published for its service.
    pub current: bool,
    /// The version that it acknowledged last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<VersionText>,
    /// Spans that it handed over.
    pub spans_exported: u64,
    /// Spans that it dropped, by reason.
    pub spans_dropped: BTreeMap<String, u64>,
}

/// How the watched folder does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FolderStatus {
    /// Where it is.
    pub path: String,
    /// What is wrong in it; its last good set holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
}
