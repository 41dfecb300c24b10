//! Jaeger's names of the span kinds.

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

const NAMES: [(SpanKind, &str); 5] = [
    (SpanKind::Internal, "internal"),
    (SpanKind::Server, "server"),
    (SpanKind::Client, "client"),
    (SpanKind::Producer, "producer"),
    (SpanKind::Consumer, "consumer"),
];

/// The name of a kind; empty when unspecified.
pub(crate) fn name(kind: SpanKind) -> &'static str {
    let entry = NAMES.iter().find(|(known, _)| *known == kind);
    entry.map_or("", |(_, name)| name)
}

/// The kind with a name.
pub(crate) fn from_name(name: &str) -> Option<SpanKind> {
    let entry = NAMES.iter().find(|(_, known)| *known == name);
    entry.map(|(kind, _)| *kind)
}
