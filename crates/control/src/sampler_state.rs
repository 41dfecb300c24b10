//! The public types of samplers.

use spoor_policy::Version;

/// The state of a sampler that is connected or remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SamplerState {
    /// The TracingStack that it belongs to. Empty outside a cluster.
    pub stack: String,
    /// The instance.
    pub instance: String,
    /// True if it has an open stream.
    pub connected: bool,
    /// The version that it last acknowledged.
    pub held: Option<Version>,
    /// True if these are the current tail rules of its namespace.
    pub current: bool,
    /// The tail rules that it last refused, unless it has acknowledged later ones.
    pub refused: Option<RefusedRules>,
    /// True if these are the current tail rules of its namespace.
    pub refuses_current: bool,
}

/// Tail rules that a sampler refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedRules {
    /// Their version.
    pub version: Version,
    /// The sampler's reason.
    pub reason: String,
}
