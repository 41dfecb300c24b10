//! The status of a policy: whether it holds, who has taken it, what rate is observed.

mod verdict;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use verdict::{Verdict, conditions};

/// The status of a [`SamplingPolicy`](crate::SamplingPolicy).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SamplingPolicyStatus {
    /// `Accepted`, `Programmed` and `Converged`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The figures of a table, in few words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<Summary>,
    /// The places where it decides, with its strategy in each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub effective: Vec<Effective>,
    /// The places where another policy decides instead.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub overridden: Vec<Overridden>,
    /// The clients that should have taken it, by where they stand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clients: Option<Clients>,
    /// The rate that is observed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<Observed>,
}

/// The figures of a policy in a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Head and tail: `1%`, `100% + tail 10%`.
    #[schemars(length(max = 256))]
    pub strategy: String,
    /// The clients that have it, of those that can say so, and those that only poll: `3/3`,
    /// `3/3, 1 polling`; `none needed` where the policy decides by tail rules alone. Absent where
    /// it decides nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub clients: Option<String>,
    /// The observed rate with its verdict, or the reason why there is none: `0.98% Consistent`,
    /// `0.98% Reported`, `1% (too few to tell)`, `no recent requests`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub observed: Option<String>,
}

/// A condition as Kubernetes has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Its name, such as [`Condition::ACCEPTED`].
    #[serde(rename = "type")]
    #[schemars(
        length(max = 316),
        regex(
            pattern = "^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$"
        )
    )]
    pub kind: String,
    /// The state: true, false, or unknown.
    pub status: ConditionStatus,
    /// The `metadata.generation` that it speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The time of the last change of `status`, in RFC 3339.
    #[schemars(length(max = 64), extend("format" = "date-time"))]
    pub last_transition_time: String,
    /// The reason, in one CamelCase word for machines.
    #[schemars(
        length(min = 1, max = 1024),
        regex(pattern = "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")
    )]
    pub reason: String,
    /// The reason, for people.
    #[schemars(length(max = 32768))]
    pub message: String,
}

impl Condition {
    /// The policy holds.
    pub const ACCEPTED: &str = "Accepted";
    /// Everything it says is published.
    pub const PROGRAMMED: &str = "Programmed";
    /// Every expected instance has taken it.
    pub const CONVERGED: &str = "Converged";
    /// A stack takes spans and answers for traces.
    pub const AVAILABLE: &str = "Available";
    /// A stack is on the way to what is asked for.
    pub const PROGRESSING: &str = "Progressing";
    /// Something of a stack is not as it should be.
    pub const DEGRADED: &str = "Degraded";
    /// Present while a second operator would serve the namespace of a policy or stack, and is
    /// refused.
    pub const CONTESTED: &str = "Contested";
}

/// The state of a [`Condition`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConditionStatus {
    /// It is.
    True,
    /// It is not.
    False,
    /// It cannot be said yet.
    Unknown,
}

/// A place where the policy decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Effective {
    /// The service; none: every one that no policy names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub service: Option<String>,
    /// The operation; none: all others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub operation: Option<String>,
    /// The strategy there: `1%`, `10/s` or `tail, otherwise 10%`.
    #[schemars(length(max = 256))]
    pub strategy: String,
}

/// A place where another policy decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Overridden {
    /// The service; none: every one that no policy names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub service: Option<String>,
    /// The operation; none: all others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub operation: Option<String>,
    /// The name of the policy that decides there.
    #[schemars(length(max = 253))]
    pub by: String,
}

/// The instances that should have taken the policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Clients {
    /// The number that there should be.
    pub expected: u32,
    /// Those that acknowledged it.
    pub current: u32,
    /// Those that refused it.
    pub refused: u32,
    /// Those that only poll, so that nothing is known of them.
    pub polling: u32,
    /// Those that reported and have not for a while.
    pub silent: u32,
    /// Those that should be there and have never asked for a strategy.
    #[serde(default)]
    pub never_asked: u32,
    /// From publication to the slowest acknowledgement, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slowest_milliseconds: Option<u64>,
}

/// The rate that is observed, from counts of root decisions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Observed {
    /// The origin of the counts.
    pub source: Source,
    /// The length of the window, in seconds.
    pub window_seconds: u32,
    /// Traces started in it.
    pub started: u64,
    /// Traces among them that were sampled.
    pub sampled: u64,
    /// Their share, as a percentage; absent where nothing was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub rate: Option<String>,
    /// The least that is plausible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub lower: Option<String>,
    /// The most that is plausible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub upper: Option<String>,
    /// `Consistent`, `TooHigh`, `TooLow` or `Unknown`.
    #[schemars(length(max = 32))]
    pub verdict: String,
    /// The reason why there is no rate, or no verdict on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,
}

/// The origin of the root decisions that make up an [`Observed`] rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Source {
    /// Spoor's own clients, each known by its identity.
    Clients,
    /// The metric `otel.sdk.span.started` of unmodified SDKs. Anyone can send it, so there is no
    /// verdict.
    Reported,
    /// Nobody yet: nothing is there to see.
    Nothing,
}
