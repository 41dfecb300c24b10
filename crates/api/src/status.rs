//! The status of a policy.

mod conditions;

use derive_more::Display;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use conditions::{ConditionUpdate, conditions};

/// The status of a [`SamplingPolicy`](crate::SamplingPolicy).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
// Unknown fields are ignored, unlike in `spec`: a newer version may have written the status.
pub struct SamplingPolicyStatus {
    /// `Accepted`, `Programmed` and `Converged`. `Contested` is added while another operator tries to
    /// claim the namespace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Short strings for table columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<PolicySummary>,
    /// Places where the policy decides, with its strategy in each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub effective: Vec<EffectivePlace>,
    /// Places where another policy decides instead.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub overridden: Vec<OverriddenPlace>,
    /// Clients that should apply the policy, by state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clients: Option<Clients>,
    /// Observed sampling rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<Observed>,
    /// Observed decisions of the tail. Absent unless Spoor's sampler or the lab makes them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<ObservedTail>,
}

/// Short strings about a policy for table columns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicySummary {
    /// Head and tail strategy: `1%`, `100% + tail rules, otherwise 10%`.
    #[schemars(length(max = 256))]
    pub strategy: String,
    /// Clients that apply the policy out of those that can acknowledge it, and clients that only
    /// poll: `3/3`, `3/3, 1 polling`. `none needed` if the policy has only tail rules. Absent if it
    /// decides nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub clients: Option<String>,
    /// Observed rate with its verdict, or the reason for its absence: `0.98% Consistent`,
    /// `0.98% Reported`, `1% (too few traces)`, `1% (no verdict yet)`, `no recent requests`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub observed: Option<String>,
    /// Share of traces that the tail kept, and the observed rate of `otherwise` with its verdict:
    /// `14.3% of 12600, otherwise 10% Consistent`, `100% of 3`, `no traces yet`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 96))]
    pub tail: Option<String>,
}

/// A condition, as in other Kubernetes resources.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
// Lengths and patterns are those of Kubernetes' `metav1.Condition`.
pub struct Condition {
    /// Type of the condition, such as `Accepted`.
    #[serde(rename = "type")]
    #[schemars(
        length(max = 316),
        regex(
            pattern = "^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$"
        )
    )]
    pub kind: String,
    /// Status of the condition: `True`, `False` or `Unknown`.
    pub status: ConditionStatus,
    /// The `metadata.generation` that the condition is based on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Time of the last change of `status`, in RFC 3339.
    #[schemars(length(max = 64), extend("format" = "date-time"))]
    pub last_transition_time: String,
    /// Reason for the status as a CamelCase word, for machines.
    #[schemars(
        length(min = 1, max = 1024),
        regex(pattern = "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")
    )]
    pub reason: String,
    /// Reason for the status, for people.
    #[schemars(length(max = 32768))]
    pub message: String,
}

impl Condition {
    /// The policy is valid and decides somewhere.
    pub const ACCEPTED: &str = "Accepted";
    /// All of the policy is published.
    pub const PROGRAMMED: &str = "Programmed";
    /// Every expected instance applies the policy.
    pub const CONVERGED: &str = "Converged";
    /// A stack receives spans and serves queries.
    pub const AVAILABLE: &str = "Available";
    /// A stack is being changed to its desired state.
    pub const PROGRESSING: &str = "Progressing";
    /// Part of a stack is not as desired.
    pub const DEGRADED: &str = "Degraded";
    /// A second installation tried to claim the namespace of the policy or stack, and was refused.
    pub const CONTESTED: &str = "Contested";
}

/// The state of a [`Condition`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Display)]
pub enum ConditionStatus {
    /// The condition holds.
    True,
    /// The condition does not hold.
    False,
    /// It is not known yet whether the condition holds.
    Unknown,
}

/// A place where the policy decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EffectivePlace {
    /// Service. If absent, every service that no policy names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub service: Option<String>,
    /// Operation. If absent, all operations that no policy names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub operation: Option<String>,
    /// Strategy of the policy there: `1%`, `10/s` or `tail rules, otherwise 10%`.
    #[schemars(length(max = 256))]
    pub strategy: String,
}

/// A place where another policy decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OverriddenPlace {
    /// Service. If absent, every service that no policy names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub service: Option<String>,
    /// Operation. If absent, all operations that no policy names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub operation: Option<String>,
    /// Name of the policy that decides there.
    #[schemars(length(max = 253))]
    pub by: String,
}

/// The numbers of clients that should apply the policy, by state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Clients {
    /// Clients that should apply the policy.
    pub expected: u32,
    /// Clients that acknowledged the policy.
    pub current: u32,
    /// Clients that refused the policy.
    pub refused: u32,
    /// Clients that only poll and cannot acknowledge.
    pub polling: u32,
    /// Clients that have stopped sending messages.
    pub silent: u32,
    /// Expected instances that have never requested a strategy.
    #[serde(default)]
    // Absent in a status that an earlier version wrote.
    pub never_asked: u32,
    /// Time from publication to the slowest acknowledgement, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slowest_milliseconds: Option<u64>,
}

/// The observed sampling rate, from counts of root decisions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Observed {
    /// Origin of the counts.
    pub source: ObservedSource,
    /// Length of the window, in seconds.
    pub window_seconds: u32,
    /// Traces started in the window.
    pub started: u64,
    /// Traces sampled in the window.
    pub sampled: u64,
    /// Sampled share as a percentage. Absent if no trace has started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub rate: Option<String>,
    /// Lower end of the confidence interval of the rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub lower: Option<String>,
    /// Upper end of the confidence interval of the rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub upper: Option<String>,
    /// Comparison with the policy: `Consistent`, `TooHigh`, `TooLow` or `Unknown`.
    #[schemars(length(max = 32))]
    pub verdict: String,
    /// Reason for the absence of a rate or verdict, or a remark on the verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,
}

/// The origin of the counts of an [`Observed`] rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ObservedSource {
    /// Spoor's own clients, which are identified.
    Clients,
    /// The metric `otel.sdk.span.started` of unmodified SDKs. There is no verdict, since anyone can
    /// send this metric.
    Reported,
    /// No counts yet.
    #[default]
    Nothing,
}

/// The observed decisions of a policy's tail on whole traces.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObservedTail {
    /// Traces decided on since the tail took effect, or since the control plane started. Changes of
    /// rules or places do not reset the count.
    pub decided: u64,
    /// Traces kept among these.
    pub kept: u64,
    /// Traces kept among these by each current rule.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub by_rule: Vec<RuleKept>,
    /// Observed rate of `otherwise`.
    pub otherwise: ObservedOtherwise,
}

/// The traces kept because of a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RuleKept {
    /// Name of the rule.
    #[schemars(length(max = 63))]
    pub name: String,
    /// Traces kept because of the rule.
    pub kept: u64,
}

/// The observed share of traces kept among those that matched no rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObservedOtherwise {
    /// Share kept among the recent traces that matched no rule, as a percentage. Absent if there
    /// are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub rate: Option<String>,
    /// Lower end of the confidence interval of the rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub lower: Option<String>,
    /// Upper end of the confidence interval of the rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub upper: Option<String>,
    /// Comparison with the policy: `Consistent`, `TooHigh`, `TooLow` or `Unknown`. `Unknown` if a
    /// head below 100% also decides.
    #[schemars(length(max = 32))]
    pub verdict: String,
}
