//! The ports of OTLP receivers, and the age of their connections.

use std::time::Duration;

/// The port of OTLP over gRPC.
pub const OTLP_GRPC: u16 = 4317;
/// The port of OTLP over HTTP.
pub const OTLP_HTTP: u16 = 4318;

/// The address on all interfaces with this port.
#[must_use]
pub fn any_address(port: u16) -> String {
    format!("0.0.0.0:{port}")
}

/// The age at which an OTLP receiver closes a client's connection. The client then connects again,
/// perhaps to another pod: without an age it would stay with a pod that is about to end, or on the
/// route that the stack has left.
pub const MAX_CONNECTION_AGE: Duration = Duration::from_secs(5);
/// The time that requests on such a connection have to complete.
pub const MAX_CONNECTION_AGE_GRACE: Duration = Duration::from_secs(5);
