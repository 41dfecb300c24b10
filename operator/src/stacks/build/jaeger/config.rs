//! Jaeger's configuration file.

use std::time::Duration;

use serde_json::json;
use spoor_api::stack::ManagedJaeger;

use super::{GRPC_QUERY_PORT, HEALTH_PORT, METRICS_PORT, QUERY_PORT, storage::StorageParts};
use crate::stacks::objects::{
    otlp::{OTLP_GRPC_PORT, OTLP_HTTP_PORT, any_address, grpc_receiver, http_receiver},
    text,
};

/// Builds the configuration as YAML.
///
/// There is no batch processor: it would accept spans before they are stored and lose them when
/// storing fails. The Collector and the services already send batches, and retry.
#[must_use]
pub fn yaml(jaeger: &ManagedJaeger, storage: &StorageParts) -> String {
    let mut config = json!({
        "service": {
            "extensions": ["healthcheckv2", "jaeger_storage", "jaeger_query"],
            "pipelines": {"traces": {
                "receivers": ["otlp"],
                "processors": ["memory_limiter"],
                "exporters": ["jaeger_storage_exporter"],
            }},
            "telemetry": {
                "resource": {"service.name": "jaeger"},
                "metrics": {"level": "normal", "readers": [
                    {"pull": {"exporter": {"prometheus": {"host": "0.0.0.0", "port": METRICS_PORT}}}},
                ]},
                "logs": {"level": "info", "encoding": "json"},
            },
        },
        "extensions": {
            "healthcheckv2": {"use_v2": true, "http": {"endpoint": any_address(HEALTH_PORT)}},
            "jaeger_storage": {"backends": {"traces": storage.backend}},
            "jaeger_query": {
                // The Collector's configuration expands `$`, so a literal one is doubled.
                "base_path": jaeger.base_path.replace('$', "$$"),
                "enable_tracing": false,
                "storage": {"traces": "traces"},
                "http": {"endpoint": any_address(QUERY_PORT)},
                "grpc": {"endpoint": any_address(GRPC_QUERY_PORT)},
            },
        },
        "receivers": {"otlp": {"protocols": {
            "grpc": grpc_receiver(OTLP_GRPC_PORT, seconds),
            "http": http_receiver(OTLP_HTTP_PORT),
        }}},
        "processors": {"memory_limiter": {
            "check_interval": "1s",
            "limit_percentage": 85,
            "spike_limit_percentage": 15,
        }},
        "exporters": {"jaeger_storage_exporter": {"trace_storage": "traces"}},
    });
    if let Some(url) = &jaeger.prometheus {
        config["extensions"]["jaeger_storage"]["metric_backends"] = json!({"metrics": {"prometheus": {
            "endpoint": url.replace('$', "$$"),
            "normalize_calls": true,
            "normalize_duration": true,
        }}});
        config["extensions"]["jaeger_query"]["storage"]["metrics"] = json!("metrics");
    }
    text::yaml(&config)
}

fn seconds(duration: Duration) -> String {
    format!("{}s", duration.as_secs())
}
