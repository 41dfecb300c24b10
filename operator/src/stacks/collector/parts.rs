//! The parts of configuration that both tiers share.

use std::time::Duration;

use serde_json::{Value, json};

use super::{memory::TierMemory, ports};
use crate::stacks::objects::otlp::any_address;

/// The extension that responds to probes.
pub(super) const HEALTH: &str = "health_check";
/// The first processor of each pipeline that receives OTLP: refuses data when memory is short.
pub(super) const LIMITER: &str = "memory_limiter";

/// Formats a duration for Go.
pub(super) fn go_duration(duration: Duration) -> String {
    format!("{}ms", duration.as_millis())
}

/// An exporter of OTLP over gRPC, without TLS and with unlimited retries: when its queue is full,
/// the pipeline before it waits, and then the limiter refuses spans.
pub(super) fn sender(memory: TierMemory) -> Value {
    json!({
        "compression": "none",
        "tls": {"insecure": true},
        "timeout": "5s",
        "retry_on_failure": {
            "enabled": true,
            "initial_interval": "200ms",
            "max_interval": "2s",
            // No limit: a span is dropped only when there is no memory for it, never because its
            // receiver is unavailable for a long time.
            "max_elapsed_time": "0s",
        },
        "sending_queue": {
            "enabled": true,
            "sizer": "bytes",
            "queue_size": memory.queue_bytes(),
            "num_consumers": 10,
            // A full queue blocks the pipeline, and the memory limiter then refuses spans, which
            // makes their senders retry.
            "block_on_overflow": true,
            "batch": {"flush_timeout": "200ms", "sizer": "items", "min_size": 1000},
        },
    })
}

/// An exporter of OTLP over gRPC, without TLS, that accepts spans once their receiver has accepted
/// them, and passes on the receiver's refusal. A queue would accept them earlier, and lose them
/// with the pod, even if it were on a volume of the pod. Without a queue, their sender holds them
/// and retries.
pub(super) fn synchronous_sender(endpoint: &str) -> Value {
    json!({
        "endpoint": endpoint,
        "compression": "none",
        "tls": {"insecure": true},
        // Below MAX_CONNECTION_AGE_GRACE, so that the response reaches a sender whose connection
        // is being closed.
        "timeout": "4s",
        // Finds a receiver that vanished with its node, to which a connection would stay open for
        // many minutes. Not on idle connections, for which many receivers allow no pings.
        "keepalive": {"time": "10s", "timeout": "5s"},
        "retry_on_failure": {"enabled": false},
        "sending_queue": {"enabled": false},
    })
}

pub(super) fn limiter(memory: TierMemory) -> Value {
    json!({
        "check_interval": "1s",
        "limit_mib": memory.hard_mib(),
        "spike_limit_mib": memory.spike_mib(),
    })
}

pub(super) fn health() -> Value {
    json!({"endpoint": any_address(ports::HEALTH)})
}

/// The configuration of the Collector's own logs and metrics.
pub(super) fn telemetry() -> Value {
    json!({
        "logs": {"level": "warn", "encoding": "json"},
        "metrics": {
            "level": "normal",
            "readers": [{"pull": {"exporter": {
                "prometheus": {"host": "0.0.0.0", "port": ports::OWN_METRICS},
            }}}],
        },
    })
}
