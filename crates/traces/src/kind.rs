//! Jaeger's words for the kinds of spans.

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

/// The word for a kind; empty when unspecified.
pub(crate) fn word(kind: SpanKind) -> &'static str {
    match kind {
        SpanKind::Internal => "internal",
        SpanKind::Server => "server",
        SpanKind::Client => "client",
        SpanKind::Producer => "producer",
        SpanKind::Consumer => "consumer",
        SpanKind::Unspecified => "",
    }
}

/// The kind that a word names.
pub(crate) fn named(text: &str) -> Option<SpanKind> {
    [
        SpanKind::Internal,
        SpanKind::Server,
        SpanKind::Client,
        SpanKind::Producer,
        SpanKind::Consumer,
    ]
    .into_iter()
    .find(|kind| word(*kind) == text)
}
