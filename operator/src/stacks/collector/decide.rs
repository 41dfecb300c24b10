//! The deciding tier: decides on complete traces by the policies in force, and exports those that
//! it keeps. A change of policies replaces its pod.

use serde_json::{Map, Value, json};

use super::{
    CollectorInput, memory,
    memory::TierMemory,
    parts::{HEALTH, LIMITER, go_duration, health, limiter, sender, telemetry},
};
use crate::stacks::objects::otlp;

/// Makes `otherwise` a share of all traces, head and tail together, and records it in `tracestate`.
pub(super) const FEATURE_GATES: &str = "+processor.tailsamplingprocessor.usetracestate";

/// The name of the exporter to Jaeger in the Collector's metrics.
pub(super) const JAEGER: &str = "otlp_grpc/spoor-jaeger";

const RECEIVER: &str = "otlp";
const DECIDER: &str = "tail_sampling";
/// The most decisions of each kind that are remembered, so that late spans follow their trace.
const MAX_CACHED_DECISIONS: u64 = 100_000;
/// The most spans in one message to Jaeger, whose limit may be the usual 4 MiB.
const MAX_BATCH_SPANS: u64 = 2000;

/// Builds the configuration of the deciding tier, with these policies of the tail sampler.
pub(super) fn config(input: &CollectorInput<'_>, policies: Vec<Value>) -> Value {
    let memory = memory(input.collector);
    let exporters = input.collector.exporters.iter();
    let mut exporters: Map<String, Value> = exporters
        .map(|(name, config)| (name.to_string(), Value::Object(config.clone())))
        .collect();
    exporters.insert(JAEGER.to_owned(), jaeger(input.jaeger_otlp, memory));
    let names: Vec<&String> = exporters.keys().collect();
    json!({
        "receivers": {RECEIVER: {"protocols": {
            "grpc": otlp::grpc_receiver(otlp::OTLP_GRPC_PORT, go_duration),
        }}},
        "processors": {
            LIMITER: limiter(memory),
            DECIDER: {
                "decision_wait": go_duration(input.collector.decision_wait),
                "num_traces": memory.traces(),
                // Evicting a trace would decide on it before it is complete, so new spans wait in
                // the gathering tier instead.
                "block_on_overflow": true,
                // Policies only ever keep traces, so the first match is the decision.
                "sample_on_first_match": true,
                "decision_cache": {
                    "sampled_cache_size": MAX_CACHED_DECISIONS,
                    "non_sampled_cache_size": MAX_CACHED_DECISIONS,
                },
                "policies": policies,
            },
        },
        "exporters": exporters,
        "extensions": {HEALTH: health()},
        "service": {
            "extensions": [HEALTH],
            "telemetry": telemetry(),
            "pipelines": {"traces": {
                "receivers": [RECEIVER],
                "processors": [LIMITER, DECIDER],
                "exporters": names,
            }},
        },
    })
}

/// The exporter to Jaeger.
fn jaeger(endpoint: &str, memory: TierMemory) -> Value {
    let mut jaeger = sender(memory);
    jaeger["endpoint"] = json!(endpoint);
    jaeger["sending_queue"]["batch"]["max_size"] = json!(MAX_BATCH_SPANS);
    jaeger
}
