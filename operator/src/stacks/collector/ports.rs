//! The ports of the tiers.

use crate::stacks::objects::otlp::{OTLP_GRPC, OTLP_HTTP};

/// OTLP over gRPC between gathering pods.
pub(super) const PEERS: u16 = 4316;
/// The metrics made from spans.
pub const SPAN_METRICS: u16 = 8889;
/// The Collector's own metrics.
pub const OWN_METRICS: u16 = 8888;
/// Answers probes.
pub(super) const HEALTH: u16 = 13133;

/// What a gathering pod listens on, by names.
pub(super) const OF_GATHER: [(&str, u16); 5] = [
    ("otlp-grpc", OTLP_GRPC),
    ("otlp-http", OTLP_HTTP),
    ("peers-grpc", PEERS),
    ("metrics", OWN_METRICS),
    ("span-metrics", SPAN_METRICS),
];
/// What a deciding pod listens on, by names.
pub(super) const OF_DECIDE: [(&str, u16); 2] = [("otlp-grpc", OTLP_GRPC), ("metrics", OWN_METRICS)];
