//! The gathering tier: receives spans, gathers them into complete traces and forwards those to the
//! deciding tier. It applies no policy, so that a change of policy does not affect the traces that
//! are being gathered.

use std::time::Duration;

use serde_json::{Value, json};
use spoor_api::stack::Stack;

use super::{
    CollectorInput, memory,
    memory::TierMemory,
    parts::{HEALTH, LIMITER, go_duration, health, limiter, sender, telemetry},
    ports,
};
use crate::stacks::objects::{labels::Component, otlp};

/// The receiver for clients.
pub const CLIENT_RECEIVER: &str = "otlp";
/// The receiver for other gathering pods.
pub const PEER_RECEIVER: &str = "otlp/spoor-peers";
const GATHERER: &str = "groupbytrace";
pub(super) const COUNTS_ONLY: &str = "filter/spoor-reported";
const LOAD_BALANCER: &str = "load_balancing/spoor-peers";
const DECIDE: &str = "otlp_grpc/spoor-decide";
pub(super) const REPORTED: &str = "otlp_http/spoor-reported";
pub(super) const SPAN_METRICS: &str = "span_metrics";
pub(super) const SCRAPED: &str = "prometheus/spoor";

/// The interval at which a pod looks up its peers.
const LOOKUP_INTERVAL: Duration = Duration::from_secs(2);

/// Builds the configuration of the gathering tier.
pub(super) fn config(input: &CollectorInput<'_>) -> Value {
    let memory = memory(input.collector);
    let decide = Component::Decide.name_in(input.stack);
    let mut config = json!({
        "receivers": {
            CLIENT_RECEIVER: {"protocols": {
                "grpc": otlp::grpc_receiver(otlp::OTLP_GRPC_PORT, go_duration),
                "http": otlp::http_receiver(otlp::OTLP_HTTP_PORT),
            }},
            // Needed with one pod, too: there are two while the number of replicas changes.
            PEER_RECEIVER: {"protocols": {"grpc": otlp::grpc_receiver(ports::PEERS, go_duration)}},
        },
        "processors": {
            LIMITER: limiter(memory),
            GATHERER: {
                "wait_duration": go_duration(input.collector.gather_wait),
                "num_traces": memory.traces(),
                "num_workers": 2,
            },
            COUNTS_ONLY: counts_only(),
        },
        "connectors": {SPAN_METRICS: span_metrics()},
        "exporters": {
            DECIDE: sender(memory),
            REPORTED: reported(input.counts_endpoint),
            SCRAPED: {"endpoint": otlp::any_address(ports::SPAN_METRICS)},
        },
        "extensions": {HEALTH: health()},
        "service": {
            "extensions": [HEALTH],
            "telemetry": telemetry(),
            "pipelines": {
                "traces/gather": {
                    "receivers": [PEER_RECEIVER],
                    "processors": [LIMITER, GATHERER],
                    "exporters": [DECIDE, SPAN_METRICS],
                },
                "metrics/spans": {
                    "receivers": [SPAN_METRICS],
                    "exporters": [SCRAPED],
                },
                "metrics/reported": {
                    "receivers": [CLIENT_RECEIVER],
                    "processors": [LIMITER, COUNTS_ONLY],
                    "exporters": [REPORTED],
                },
            },
        },
    });
    config["exporters"][DECIDE]["endpoint"] = json!(format!("{decide}:{}", otlp::OTLP_GRPC_PORT));
    let pipelines = &mut config["service"]["pipelines"];
    if input.collector.replicas > 1 {
        pipelines["traces/spread"] = json!({
            "receivers": [CLIENT_RECEIVER],
            "processors": [LIMITER],
            "exporters": [LOAD_BALANCER],
        });
        config["exporters"][LOAD_BALANCER] = load_balancer(input.stack, memory);
    } else {
        pipelines["traces/gather"]["receivers"] = json!([CLIENT_RECEIVER, PEER_RECEIVER]);
    }
    config
}

/// The processor of clients' metrics. None of them are stored. Only the counter of started spans is
/// forwarded, as evidence for the status of policies.
pub(super) fn counts_only() -> Value {
    json!({
        "error_mode": "ignore",
        "metrics": {"metric": ["name != \"otel.sdk.span.started\""]},
    })
}

/// The connector that makes metrics from spans.
pub(super) fn span_metrics() -> Value {
    json!({
        "metrics_flush_interval": "15s",
        "metrics_expiration": "10m",
        "aggregation_cardinality_limit": 2000,
    })
}

/// The exporter of clients' own counts to this endpoint.
pub(super) fn reported(endpoint: &str) -> Value {
    json!({
        "endpoint": endpoint,
        "compression": "none",
        "timeout": "5s",
        "retry_on_failure": {"enabled": true, "max_elapsed_time": "30s"},
        "sending_queue": {
            "enabled": true,
            "queue_size": 100,
            "num_consumers": 1,
            "batch": {"flush_timeout": "1s", "sizer": "items", "min_size": 100, "max_size": 500},
        },
    })
}

/// Builds the exporter that distributes spans among the gathering pods. Queue and retries are those
/// of each peer: a queue of the exporter as a whole would also resend spans that another peer
/// already has.
fn load_balancer(stack: &Stack, memory: TierMemory) -> Value {
    let mut sender = sender(memory);
    // Spans that wait here reach their peer later than the rest of their trace.
    sender["sending_queue"]["batch"]["flush_timeout"] = json!("50ms");
    json!({
        "routing_key": "traceID",
        "protocol": {"otlp": sender},
        "resolver": {"dns": {
            "hostname": Component::Gather.name_in(stack),
            "port": ports::PEERS.to_string(),
            "interval": go_duration(LOOKUP_INTERVAL),
            "timeout": "1s",
        }},
    })
}
