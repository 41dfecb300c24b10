//! Jaeger's words for the kinds of spans.

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use crate::{Operation, Store, service};

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

/// A service's operations of the kind that a word names, or of all; an unknown word finds none,
/// nor does a service without a name.
pub(crate) fn operations(store: &Store, service: &str, word: Option<&str>) -> Vec<Operation> {
    if service.is_empty() {
        return Vec::new();
    }
    let service = service::stored(service);
    match word {
        None => store.operations(service, None),
        Some(word) => named(word)
            .map(|kind| store.operations(service, Some(kind)))
            .unwrap_or_default(),
    }
}

fn named(text: &str) -> Option<SpanKind> {
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
