//! OTLP receivers.
//!
//! Source: OpenTelemetry Protocol specification 1.9.

mod body;
mod cors;
mod grpc;
mod http;
mod json;
mod other_signals;
mod status;

pub use cors::AllowedOrigins;
pub use other_signals::OtherSignals;

pub(crate) use grpc::routes as grpc;
pub(crate) use http::http;

use std::time::Duration;

/// What is accepted from senders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiveSettings {
    /// The longest body, in bytes, also after decompression.
    pub max_body_bytes: usize,
    /// How long a sender may take over a body.
    pub body_deadline: Duration,
    /// The memory for requests that are being received, over all senders, in bytes: bodies, also
    /// decompressed, and the index of their spans.
    pub max_receiving_bytes: usize,
    /// What becomes of metrics, logs and profiles.
    pub other_signals: OtherSignals,
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
            origins: AllowedOrigins::default(),
        }
    }
}

/// When a sender that was turned away should try again.
const RETRY_AFTER: Duration = Duration::from_secs(1);
