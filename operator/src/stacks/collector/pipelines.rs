//! The Collector with Spoor's sampler between its two pipelines. `in` receives the spans of services
//! and sends them to the sampler, which returns those that it keeps to `out`, and `out` exports
//! them. No policy is part of the configuration, so a change of rules replaces no pod.

use serde_json::{Map, Value, json};
use spoor_api::stack::Stack;

use super::{
    CLIENT_RECEIVER, CollectorInput,
    decide::{JAEGER, jaeger},
    gather::{COUNTS_ONLY, REPORTED, SCRAPED, SPAN_METRICS, counts_only, reported, span_metrics},
    memory,
    parts::{HEALTH, LIMITER, go_duration, health, limiter, sender, telemetry},
    ports,
};
use crate::stacks::objects::{labels::Component, otlp};

/// The receiver for the spans that the sampler keeps.
const KEPT: &str = "otlp/spoor-kept";
const SAMPLER: &str = "otlp_grpc/spoor-sampler";

/// The name of the Service through which samplers return the spans that they keep.
pub(super) fn kept_name(stack: &Stack) -> String {
    format!("{}-collector-kept", stack.name)
}

/// The URL of the receiver for the spans that the sampler keeps.
#[must_use]
pub fn kept_url(stack: &Stack) -> String {
    format!("http://{}:{}", kept_name(stack), ports::KEPT)
}

/// Builds the configuration of the Collector.
pub(super) fn config(input: &CollectorInput<'_>) -> Value {
    let memory = memory(input.collector);
    let exporters = input.collector.exporters.iter();
    let mut exporters: Map<String, Value> = exporters
        .map(|(name, config)| (name.to_string(), Value::Object(config.clone())))
        .collect();
    exporters.insert(JAEGER.to_owned(), jaeger(input.jaeger_otlp, memory));
    let of_kept: Vec<String> = exporters.keys().cloned().collect();
    let mut to_sampler = sender(memory);
    let sampler = Component::Sampler.name_in(input.stack);
    to_sampler["endpoint"] = json!(format!("{sampler}:{}", otlp::OTLP_GRPC_PORT));
    exporters.insert(SAMPLER.to_owned(), to_sampler);
    exporters.insert(REPORTED.to_owned(), reported(input.counts_endpoint));
    exporters.insert(
        SCRAPED.to_owned(),
        json!({"endpoint": otlp::any_address(ports::SPAN_METRICS)}),
    );
    json!({
        "receivers": {
            CLIENT_RECEIVER: {"protocols": {
                "grpc": otlp::grpc_receiver(otlp::OTLP_GRPC_PORT, go_duration),
                "http": otlp::http_receiver(otlp::OTLP_HTTP_PORT),
            }},
            KEPT: {"protocols": {"grpc": otlp::grpc_receiver(ports::KEPT, go_duration)}},
        },
        "processors": {LIMITER: limiter(memory), COUNTS_ONLY: counts_only()},
        "connectors": {SPAN_METRICS: span_metrics()},
        "exporters": exporters,
        "extensions": {HEALTH: health()},
        "service": {
            "extensions": [HEALTH],
            "telemetry": telemetry(),
            "pipelines": {
                "traces/in": {
                    "receivers": [CLIENT_RECEIVER],
                    "processors": [LIMITER],
                    "exporters": [SAMPLER, SPAN_METRICS],
                },
                // Without the limiter: while the spans for the sampler fill the memory, it would
                // refuse those from the sampler, which then accepts no more, and nothing would
                // move again. The queues block instead, and the sampler sends little at a time.
                "traces/out": {
                    "receivers": [KEPT],
                    "exporters": of_kept,
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
    })
}
