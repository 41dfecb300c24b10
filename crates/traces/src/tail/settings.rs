//! The settings of gathering traces.

use std::time::Duration;

/// The settings of gathering traces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TailSettings {
    /// The time that a trace is gathered, from its first span.
    pub decision_wait: Duration,
    /// The memory for gathering, in bytes; beyond it the oldest traces are decided early.
    pub max_bytes: usize,
    /// The number of decisions remembered, so that late spans follow them.
    pub remembered: usize,
}

impl Default for TailSettings {
    fn default() -> Self {
        Self {
            decision_wait: Duration::from_secs(2),
            max_bytes: 256 << 20,
            remembered: 250_000,
        }
    }
}
