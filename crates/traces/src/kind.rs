//! Jaeger's words for the kinds of spans.

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

const WORDS: [(SpanKind, &str); 5] = [
    (SpanKind::Internal, "internal"),
    (SpanKind::Server, "server"),
    (SpanKind::Client, "client"),
    (SpanKind::Producer, "producer"),
    (SpanKind::Consumer, "consumer"),
];

/// The word for a kind; empty when unspecified.
pub(crate) fn word(kind: SpanKind) -> &'static str {
    let found = WORDS.iter().find(|(known, _)| *known == kind);
    found.map_or("", |(_, word)| word)
}

/// The kind that a word names.
pub(crate) fn named(text: &str) -> Option<SpanKind> {
    let found = WORDS.iter().find(|(_, word)| *word == text);
    found.map(|(kind, _)| *kind)
}
