//! Additions to a trace that a query returns, unless it asks for the raw trace.

use std::collections::HashSet;

use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, KeyValue, any_value::Value},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, Span},
};

use crate::{
    StoredTrace, service,
    tree::{correct_clock_skew, value, warn_about_ids, warnings},
};

/// The batches of a trace, as they are stored if `raw`.
pub fn decoded(trace: &StoredTrace, raw: bool) -> Vec<ResourceSpans> {
    let mut batches = trace.decode();
    if !raw {
        correct_clock_skew(&mut batches);
        warn_about_ids(&mut batches);
        enrich(&mut batches);
    }
    batches
}

/// Names resources that have no name, leaves out links that lead nowhere, and adds warnings to
/// spans that are odd.
fn enrich(batches: &mut [ResourceSpans]) {
    let scopes = batches.iter().flat_map(|batch| &batch.scope_spans);
    let spans = scopes.flat_map(|scope| &scope.spans);
    let ids: HashSet<Vec<u8>> = spans.map(|span| span.span_id.clone()).collect();
    for batch in batches {
        name(batch.resource.get_or_insert_default());
        for span in batch.scope_spans.iter_mut().flat_map(|of| &mut of.spans) {
            warn(span, &ids);
        }
    }
}

fn name(resource: &mut Resource) {
    if value::string(&resource.attributes, "service.name").is_some() {
        return;
    }
    let name = Value::StringValue(service::MISSING.to_owned());
    let attributes = &mut resource.attributes;
    // One that is empty, or no string, would come before the name that is added.
    attributes.retain(|attribute| attribute.key != "service.name");
    attributes.push(KeyValue {
        key: "service.name".to_owned(),
        value: Some(AnyValue { value: Some(name) }),
        ..KeyValue::default()
    });
}

fn warn(span: &mut Span, ids: &HashSet<Vec<u8>>) {
    let (start, end) = (span.start_time_unix_nano, span.end_time_unix_nano);
    if end < start {
        let warning = "Negative duration: the span ends before it starts";
        warnings::add(span, warning.to_owned());
    } else if end == start {
        let warning = "Zero duration: the span ends when it starts";
        warnings::add(span, warning.to_owned());
    }
    let parent = &span.parent_span_id;
    if !value::is_zero(parent) && !ids.contains(parent) {
        let id = value::hex(parent);
        warnings::add(
            span,
            format!("Missing parent: span {id} is not in the trace"),
        );
    }
    let links = span.links.len();
    span.links.retain(|link| !value::is_zero(&link.trace_id));
    if span.links.len() < links {
        let warning = "Invalid link: it names no trace, and was left out";
        warnings::add(span, warning.to_owned());
    }
}
