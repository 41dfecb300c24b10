//! The Collector with Spoor's sampler between its two pipelines. `in` receives the spans of services
//! and sends them to the sampler, which returns those that it keeps to `out`, and `out` exports
//! them. No policy is part of the configuration, so a change of rules replaces no pod.
//!
//! Neither pipeline has a queue: a service's spans are accepted once they are in the sampler's
//! journal, and the sampler's once Jaeger has them. Additional exporters have queues of their own,
//! in a pipeline whose failures do not reach the sampler.

use serde_json::{Map, Value, json};
use spoor_api::stack::Stack;

use super::{
    CLIENT_RECEIVER, CollectorInput,
    decide::JAEGER,
    gather::{COUNTS_ONLY, REPORTED, SCRAPED, SPAN_METRICS, counts_only, reported, span_metrics},
    memory,
    parts::{HEALTH, LIMITER, go_duration, health, limiter, synchronous_sender, telemetry},
    ports,
};
use crate::stacks::objects::{labels::Component, otlp};

/// The receiver for the spans that the sampler keeps.
const KEPT: &str = "otlp/spoor-kept";
const SAMPLER: &str = "otlp_grpc/spoor-sampler";
/// The processor before the additional exporters. It accepts all spans and drops those that an
/// exporter refuses, for example because its queue is full. Otherwise the sampler would retry, and
/// Jaeger would get these spans again with each attempt, and no others.
const ADDITIONAL: &str = "batch/spoor-additional";
/// The most spans in a request to an additional exporter. The queue of an exporter has 1,000
/// requests by default, which then fit in the pod's memory.
const MAX_ADDITIONAL_SPANS: u64 = 100;
/// The largest request from a service, in MiB: the sampler refuses larger ones.
const MAX_REQUEST_MIB: u64 = 16;

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
    let additional: Vec<String> = exporters.keys().cloned().collect();
    exporters.insert(JAEGER.to_owned(), synchronous_sender(input.jaeger_otlp));
    let sampler = Component::Sampler.name_in(input.stack);
    let sampler = format!("{sampler}:{}", otlp::OTLP_GRPC_PORT);
    exporters.insert(SAMPLER.to_owned(), synchronous_sender(&sampler));
    exporters.insert(REPORTED.to_owned(), reported(input.counts_endpoint));
    exporters.insert(
        SCRAPED.to_owned(),
        json!({"endpoint": otlp::any_address(ports::SPAN_METRICS)}),
    );
    let mut grpc = otlp::grpc_receiver(otlp::OTLP_GRPC_PORT, go_duration);
    grpc["max_recv_msg_size_mib"] = json!(MAX_REQUEST_MIB);
    let mut http = otlp::http_receiver(otlp::OTLP_HTTP_PORT);
    http["max_request_body_size"] = json!(MAX_REQUEST_MIB << 20);
    let mut config = json!({
        "receivers": {
            CLIENT_RECEIVER: {"protocols": {"grpc": grpc, "http": http}},
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
                // move again. The sampler sends little at a time.
                "traces/out": {
                    "receivers": [KEPT],
                    "exporters": [JAEGER],
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
    if !additional.is_empty() {
        // Without a size to wait for, each request is passed on immediately, in parts.
        config["processors"][ADDITIONAL] = json!({
            "send_batch_size": 0,
            "send_batch_max_size": MAX_ADDITIONAL_SPANS,
        });
        config["service"]["pipelines"]["traces/additional"] = json!({
            "receivers": [KEPT],
            "processors": [ADDITIONAL],
            "exporters": additional,
        });
    }
    config
}
