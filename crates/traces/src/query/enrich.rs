//! Corrections and warnings in the traces that a query returns, except in raw traces.

use std::collections::HashSet;

use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, KeyValue, any_value::Value},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, Span},
};

use crate::{
    StoredTrace, service,
    tree::{correct_clock_skew, spans, spans_mut, value, warn_about_ids, warnings},
};

/// The batches of a trace: as stored if `raw`, else corrected and with warnings.
pub fn decoded(trace: &StoredTrace, raw: bool) -> Vec<ResourceSpans> {
    let mut batches = trace.decode();
    if !raw {
        correct_clock_skew(&mut batches);
        warn_about_ids(&mut batches);
        enrich(&mut batches);
    }
    batches
}

/// Sets missing service names, removes links without a trace ID, and adds warnings to inconsistent
/// spans.
fn enrich(batches: &mut [ResourceSpans]) {
    let ids: HashSet<Vec<u8>> = spans(batches).map(|span| span.span_id.clone()).collect();
    for span in spans_mut(batches) {
        add_warnings(span, &ids);
    }
    for batch in batches {
        set_service_name(batch.resource.get_or_insert_default());
    }
}

fn set_service_name(resource: &mut Resource) {
    if value::string(&resource.attributes, "service.name").is_some() {
        return;
    }
    let name = Value::StringValue(service::MISSING.to_owned());
    let attributes = &mut resource.attributes;
    // An empty one, or one that is not a string, would precede the name that is added.
    attributes.retain(|attribute| attribute.key != "service.name");
    attributes.push(KeyValue {
        key: "service.name".to_owned(),
        value: Some(AnyValue { value: Some(name) }),
        ..KeyValue::default()
    });
}

fn add_warnings(span: &mut Span, ids: &HashSet<Vec<u8>>) {
    let (start, end) = (span.start_time_unix_nano, span.end_time_unix_nano);
    if end < start {
        warnings::add(span, "Negative duration: the span ends before it starts");
    } else if end == start {
        warnings::add(span, "Zero duration: the span ends when it starts");
    }
    let parent = &span.parent_span_id;
    if !value::is_zero(parent) && !ids.contains(parent) {
        let id = value::hex(parent);
        let warning = format!("Missing parent: span {id} is not in the trace");
        warnings::add(span, warning);
    }
    let links = span.links.len();
    span.links.retain(|link| !value::is_zero(&link.trace_id));
    if span.links.len() < links {
        warnings::add(span, "Invalid link: it has no trace ID, so it was removed");
    }
}
