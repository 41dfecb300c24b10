//! A trace in the JSON of Jaeger's v1 query API.
//!
//! Tags for OTLP's fields follow the OpenTelemetry–Jaeger transformation:
//! <https://opentelemetry.io/docs/specs/otel/trace/sdk_exporters/jaeger/>.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, KeyValue, any_value::Value},
    resource::v1::Resource,
    trace::v1::{span::Event, status::StatusCode},
};
use prost::Message;
use serde::{Serialize, Serializer};

use crate::{
    StoredTrace,
    query::enrich::decoded,
    tree::{Member, members, service_name, value, warnings},
};

/// The largest integer that JavaScript represents exactly; larger ones are sent as strings.
const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;

/// A trace.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Trace {
    #[serde(rename = "traceID")]
    trace_id: String,
    spans: Spans,
    processes: BTreeMap<String, Process>,
    warnings: Option<Vec<String>>,
}

/// Spans with the IDs of their processes. Each is converted only when it is written: the conversion
/// copies what spans share, and the writer stops at the bound on a response.
#[derive(Debug)]
struct Spans {
    members: Vec<(Member, String)>,
    raw: bool,
}

impl Serialize for Spans {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let spans = self.members.iter();
        serializer.collect_seq(spans.map(|(member, process)| span(member, process, self.raw)))
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Span {
    #[serde(rename = "traceID")]
    trace_id: String,
    #[serde(rename = "spanID")]
    span_id: String,
    operation_name: String,
    references: Vec<Reference>,
    /// Microseconds since the Unix epoch.
    start_time: u64,
    /// Microseconds.
    duration: u64,
    tags: Vec<Tag>,
    logs: Vec<Log>,
    #[serde(rename = "processID")]
    process_id: String,
    warnings: Option<Vec<String>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Reference {
    ref_type: &'static str,
    #[serde(rename = "traceID")]
    trace_id: String,
    #[serde(rename = "spanID")]
    span_id: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Process {
    service_name: String,
    tags: Vec<Tag>,
}

#[derive(Debug, Serialize)]
struct Log {
    timestamp: u64,
    fields: Vec<Tag>,
}

/// An attribute, or a field that Jaeger shows as one.
#[derive(Debug, Serialize)]
pub struct Tag {
    pub key: String,
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub value: serde_json::Value,
}

/// Converts a trace, without repeated spans. Unless `raw`, clock skew is corrected, inconsistent
/// spans have warnings, and attributes are sorted by key.
pub fn trace(trace: &StoredTrace, raw: bool) -> Trace {
    let mut processes = Processes::default();
    let members = members(decoded(trace, raw)).into_iter();
    let members = members.map(|member| {
        let process = processes.id(&member.resource, raw);
        (member, process)
    });
    let members = members.collect();
    Trace {
        trace_id: trace.id.to_string(),
        spans: Spans { members, raw },
        processes: processes.by_id,
        warnings: None,
    }
}

/// Assigns one ID to equal resources: `p1`, `p2` and so on.
#[derive(Default)]
struct Processes {
    /// By the encoded resource: a trace may have as many resources as spans.
    known: HashMap<Vec<u8>, String>,
    last: Option<(Arc<Resource>, String)>,
    by_id: BTreeMap<String, Process>,
}

impl Processes {
    fn id(&mut self, resource: &Arc<Resource>, raw: bool) -> String {
        // Spans of a batch follow one another.
        if let Some((last, id)) = &self.last
            && Arc::ptr_eq(last, resource)
        {
            return id.clone();
        }
        let next = self.known.len() + 1;
        let id = self.known.entry(resource.encode_to_vec());
        let id = id.or_insert_with(|| format!("p{next}")).clone();
        self.by_id.entry(id.clone()).or_insert_with(|| Process {
            service_name: service_name(resource).to_owned(),
            tags: process_tags(resource, raw),
        });
        self.last = Some((Arc::clone(resource), id.clone()));
        id
    }
}

/// The attributes of a process besides its name.
pub fn process_tags(resource: &Resource, raw: bool) -> Vec<Tag> {
    let attributes = resource.attributes.iter();
    tags(attributes.filter(|it| it.key != "service.name"), raw)
}

fn span(member: &Member, process_id: &str, raw: bool) -> Span {
    let span = &member.span;
    let parent = member.parent_id();
    let parent = parent.map(|parent| reference("CHILD_OF", &span.trace_id, parent));
    let links = span.links.iter();
    let links = links.map(|link| reference("FOLLOWS_FROM", &link.trace_id, &link.span_id));
    let logs = span.events.iter().map(|event| Log {
        timestamp: event.time_unix_nano / 1_000,
        fields: event_fields(event, raw),
    });
    let warnings = member.warnings().into_iter();
    let warnings: Vec<String> = warnings.map(str::to_owned).collect();
    Span {
        references: parent.into_iter().chain(links).collect(),
        trace_id: value::hex(&span.trace_id),
        span_id: value::hex(&span.span_id),
        operation_name: span.name.clone(),
        start_time: member.start() / 1_000,
        duration: (member.end() - member.start()) / 1_000,
        tags: span_tags(member, raw),
        logs: logs.collect(),
        process_id: process_id.to_owned(),
        warnings: (!warnings.is_empty()).then_some(warnings),
    }
}

fn reference(ref_type: &'static str, trace_id: &[u8], span_id: &[u8]) -> Reference {
    Reference {
        ref_type,
        trace_id: value::hex(trace_id),
        span_id: value::hex(span_id),
    }
}

/// A span's attributes, and the fields that Jaeger shows as tags.
pub fn span_tags(member: &Member, raw: bool) -> Vec<Tag> {
    let mut all = Vec::new();
    all.extend(text("otel.scope.name", &member.scope.name));
    all.extend(text("otel.scope.version", &member.scope.version));
    all.extend(tags(&member.span.attributes, raw));
    // Warnings have a separate field.
    all.retain(|tag| tag.key != warnings::KEY);
    all.extend(text("span.kind", member.kind()));
    match member.status_code() {
        StatusCode::Unset => {}
        StatusCode::Ok => all.extend(text("otel.status_code", "OK")),
        StatusCode::Error => {
            all.extend(text("otel.status_code", "ERROR"));
            all.push(Tag {
                // The tag by which the Jaeger UI marks a span as failed.
                key: "error".to_owned(),
                kind: "bool",
                value: true.into(),
            });
        }
    }
    all.extend(text("otel.status_description", member.status_message()));
    all.extend(text("w3c.tracestate", &member.span.trace_state));
    all
}

/// An event's attributes, with its name.
pub fn event_fields(event: &Event, raw: bool) -> Vec<Tag> {
    let mut fields = Vec::with_capacity(event.attributes.len() + 1);
    // The transformation lets an attribute with this key take precedence over the event's name.
    if !event.attributes.iter().any(|found| found.key == "event") {
        fields.extend(text("event", &event.name));
    }
    fields.extend(tags(&event.attributes, raw));
    fields
}

fn text(key: &str, value: &str) -> Option<Tag> {
    (!value.is_empty()).then(|| Tag {
        key: key.to_owned(),
        kind: "string",
        value: value.into(),
    })
}

fn tags<'a>(attributes: impl IntoIterator<Item = &'a KeyValue>, raw: bool) -> Vec<Tag> {
    let mut tags: Vec<Tag> = attributes.into_iter().map(tag).collect();
    if !raw {
        tags.sort_by(|a, b| a.key.cmp(&b.key));
    }
    tags
}

fn tag(attribute: &KeyValue) -> Tag {
    let (kind, value) = typed(attribute.value.as_ref());
    Tag {
        key: attribute.key.clone(),
        kind,
        value,
    }
}

fn typed(any: Option<&AnyValue>) -> (&'static str, serde_json::Value) {
    match any.and_then(|any| any.value.as_ref()) {
        Some(Value::BoolValue(flag)) => ("bool", (*flag).into()),
        // The type remains `int64`, so that clients can distinguish it from a string.
        Some(Value::IntValue(number)) if number.unsigned_abs() > MAX_SAFE_INTEGER => {
            ("int64", number.to_string().into())
        }
        Some(Value::IntValue(number)) => ("int64", (*number).into()),
        Some(Value::DoubleValue(number)) if number.is_finite() => ("float64", (*number).into()),
        Some(Value::DoubleValue(number)) => ("float64", value::non_finite(*number).into()),
        Some(Value::BytesValue(bytes)) => ("binary", value::base64(bytes).into()),
        _ => ("string", value::text(any).into()),
    }
}
