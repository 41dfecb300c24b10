//! OTLP receivers.
//!
//! Source: OpenTelemetry Protocol specification 1.9.

mod body;
mod grpc;
mod http;
mod json;
mod memory;
mod status;

pub use grpc::TraceService;
pub(crate) use http::http;
pub(crate) use memory::Memory;

use std::time::Duration;

/// What is accepted from senders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiveSettings {
    /// The longest body, in bytes, also after decompression.
    pub max_body_bytes: usize,
    /// How long a sender may take over a body.
    pub body_deadline: Duration,
    /// The bytes that may be in reception at the same time, over all senders.
    pub max_receiving_bytes: usize,
}

impl Default for ReceiveSettings {
    fn default() -> Self {
        Self {
            max_body_bytes: 16 << 20,
            body_deadline: Duration::from_secs(10),
            max_receiving_bytes: 128 << 20,
        }
    }
}

/// When a sender that was turned away should try again.
const RETRY_AFTER: Duration = Duration::from_secs(1);
