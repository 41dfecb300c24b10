//! Span IDs that leave a span's position in the tree uncertain.

use std::collections::{HashMap, hash_map::Entry};

use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};

use super::{
    member::{spans, spans_mut},
    value, warnings,
};

const DUPLICATE: &str = "Duplicate span ID: another span of the trace has the same ID, so their \
                         children cannot be told apart";
const OWN_PARENT: &str = "Invalid parent: the span names itself as its parent";

/// Adds a warning to each span of a trace that has the ID of an earlier one, as Jaeger does, and to
/// each that names itself as its parent.
pub(crate) fn warn_about_ids(batches: &mut [ResourceSpans]) {
    let mut first: HashMap<&[u8], &Span> = HashMap::new();
    let mut problems = Vec::new();
    for (index, span) in spans(batches).enumerate() {
        match first.entry(&span.span_id) {
            // A span that was exported twice, as a retry may do, is the same span.
            Entry::Occupied(earlier) if *earlier.get() != span => problems.push((index, DUPLICATE)),
            Entry::Occupied(_) => {}
            Entry::Vacant(entry) => drop(entry.insert(span)),
        }
        if span.parent_span_id == span.span_id && !value::is_zero(&span.span_id) {
            problems.push((index, OWN_PARENT));
        }
    }
    let mut problems = problems.into_iter().peekable();
    for (index, span) in spans_mut(batches).enumerate() {
        while let Some((_, warning)) = problems.next_if(|(at, _)| *at == index) {
            // A trace from the query API has its warnings already.
            if !warnings::of(span).contains(&warning) {
                warnings::add(span, warning);
            }
        }
    }
}
