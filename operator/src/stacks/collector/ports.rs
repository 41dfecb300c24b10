//! The ports of the tiers.

use crate::stacks::objects::otlp::{OTLP_GRPC_PORT, OTLP_HTTP_PORT};

/// The port of OTLP over gRPC between gathering pods.
pub(super) const PEERS: u16 = 4316;
/// The port of OTLP over gRPC for the spans that a sampler keeps.
pub(super) const KEPT: u16 = 4319;
/// The port of metrics made from spans.
pub const SPAN_METRICS: u16 = 8889;
/// The port of the Collector's own metrics.
pub const OWN_METRICS: u16 = 8888;
/// The port of probes.
pub(super) const HEALTH: u16 = 13133;

/// The ports of a gathering pod, by name.
pub(super) const GATHERING_POD: [(&str, u16); 5] = [
    ("otlp-grpc", OTLP_GRPC_PORT),
    ("otlp-http", OTLP_HTTP_PORT),
    ("peers-grpc", PEERS),
    ("metrics", OWN_METRICS),
    ("span-metrics", SPAN_METRICS),
];
/// The ports of a pod with a sampler between two pipelines, by name.
pub(super) const PIPELINES_POD: [(&str, u16); 5] = [
    ("otlp-grpc", OTLP_GRPC_PORT),
    ("otlp-http", OTLP_HTTP_PORT),
    ("kept-grpc", KEPT),
    ("metrics", OWN_METRICS),
    ("span-metrics", SPAN_METRICS),
];
/// The ports of a deciding pod, by name.
pub(super) const DECIDING_POD: [(&str, u16); 2] =
    [("otlp-grpc", OTLP_GRPC_PORT), ("metrics", OWN_METRICS)];
