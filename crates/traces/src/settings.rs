//! The settings of a pipeline and its receivers.

use std::time::Duration;

use spoor_policy::Namespace;

/// The settings of a [`Pipeline`](crate::Pipeline).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PipelineSettings {
    /// The memory for traces that are kept, in bytes.
    pub store_bytes: usize,
    /// The limits on gathering traces until their decision.
    pub tail: TailSettings,
    /// The receiver's bounds.
    pub receive: ReceiveSettings,
}

impl Default for PipelineSettings {
    /// 512 MiB for the store.
    fn default() -> Self {
        Self {
            store_bytes: 512 << 20,
            tail: TailSettings::default(),
            receive: ReceiveSettings::default(),
        }
    }
}

/// The settings for gathering traces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TailSettings {
    /// The time between a trace's root and its decision.
    pub decision_wait: Duration,
    /// The longest time between a trace's first span and its decision, for a trace whose root does
    /// not arrive.
    pub max_trace_duration: Duration,
    /// The memory for gathering, in bytes; beyond it, the oldest traces are decided early.
    pub max_bytes: usize,
    /// The most decisions remembered, so that late spans follow them; fewer if these would take
    /// more than a quarter of `max_bytes`. At this number, the oldest quarter is forgotten.
    pub max_remembered_decisions: usize,
    /// The namespace of spans without `k8s.namespace.name`. Without it, they are in that of
    /// `service.namespace`, or in `default`.
    pub namespace: Option<Namespace>,
}

impl Default for TailSettings {
    fn default() -> Self {
        Self {
            decision_wait: Duration::from_secs(2),
            max_trace_duration: Duration::from_secs(2),
            max_bytes: 256 << 20,
            max_remembered_decisions: 250_000,
            namespace: None,
        }
    }
}

/// The receiver's bounds, and what it accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiveSettings {
    /// The longest body, in bytes, both before and after decompression.
    pub max_body_bytes: usize,
    /// The maximum time to receive a body, and then the maximum time that it waits for its turn.
    pub body_deadline: Duration,
    /// The memory for requests that are being received, over all senders, in bytes: bodies,
    /// compressed and decompressed, and the index of their spans.
    pub max_receiving_bytes: usize,
    /// The treatment of metrics, logs and profiles.
    pub other_signals: OtherSignals,
    /// The advice to senders of other signals, at the end of the explanation of a refusal.
    pub other_signals_advice: &'static str,
    /// The web pages whose scripts may send spans.
    pub origins: AllowedOrigins,
}

impl Default for ReceiveSettings {
    fn default() -> Self {
        Self {
            max_body_bytes: 16 << 20,
            body_deadline: Duration::from_secs(10),
            max_receiving_bytes: 128 << 20,
            other_signals: OtherSignals::default(),
            other_signals_advice: "set OTEL_METRICS_EXPORTER and OTEL_LOGS_EXPORTER to none, send \
                                   metrics and logs elsewhere, or start the lab with \
                                   --discard-other-signals",
            origins: AllowedOrigins::default(),
        }
    }
}

/// The treatment of metrics, logs and profiles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OtherSignals {
    /// Refuse them with an explanation.
    #[default]
    Refuse,
    /// Accept, count and discard them.
    Discard,
}

/// The web pages whose scripts may send spans.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AllowedOrigins {
    /// Pages of this machine: `localhost` and loopback addresses, on any port.
    #[default]
    Loopback,
    /// Pages of these origins, such as `https://shop.example`.
    Listed(Vec<String>),
    /// All pages.
    Any,
}
