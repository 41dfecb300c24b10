//! OTLP receivers: their configuration, their ports and the age of their connections.

use std::time::Duration;

use serde_json::{Value, json};

/// The port of OTLP over gRPC.
pub const OTLP_GRPC_PORT: u16 = 4317;
/// The port of OTLP over HTTP.
pub const OTLP_HTTP_PORT: u16 = 4318;

/// The address on all interfaces with this port.
#[must_use]
pub fn any_address(port: u16) -> String {
    format!("0.0.0.0:{port}")
}

/// The age at which an OTLP receiver closes a client's connection. The client then connects again,
/// perhaps to another pod: without a limit it would stay with a pod that is about to end, or on the
/// route that the stack has left.
pub const MAX_CONNECTION_AGE: Duration = Duration::from_secs(5);
/// The time that requests on such a connection have to complete.
pub const MAX_CONNECTION_AGE_GRACE: Duration = Duration::from_secs(5);

/// The configuration of an OTLP receiver over gRPC. Its connections have a maximum age, since
/// senders would otherwise stay connected to the same pods. `format` writes durations: Jaeger and
/// the Collector keep their own units, since any change to the configuration's text would replace
/// the pods.
#[must_use]
pub fn grpc_receiver(port: u16, format: fn(Duration) -> String) -> Value {
    json!({
        "endpoint": any_address(port),
        "max_recv_msg_size_mib": 64,
        "keepalive": {"server_parameters": {
            "max_connection_age": format(MAX_CONNECTION_AGE),
            "max_connection_age_grace": format(MAX_CONNECTION_AGE_GRACE),
        }},
    })
}

/// The configuration of an OTLP receiver over HTTP, with one connection per request: a connection
/// that is kept open has no maximum age, and would bring spans to a pod that is about to end.
#[must_use]
pub fn http_receiver(port: u16) -> Value {
    json!({"endpoint": any_address(port), "keep_alives_enabled": false})
}
