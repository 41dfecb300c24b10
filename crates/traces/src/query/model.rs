//! Spans in Jaeger's own model, as its v2 query API returns them.

use prost_types::{Duration, Timestamp};
use spoor_proto::jaeger::api_v2::{KeyValue, Log, Process, Span, SpanRef, SpanRefType, ValueType};

use super::v1::json::{self, Tag};
use crate::tree::Member;

/// Converts a span.
pub fn span(member: &Member, raw: bool) -> Span {
    let span = &member.span;
    let parent = member.parent_id();
    let parent = parent.map(|parent| reference(SpanRefType::ChildOf, &span.trace_id, parent));
    let links = span.links.iter();
    let links = links.map(|it| reference(SpanRefType::FollowsFrom, &it.trace_id, &it.span_id));
    let duration = member.duration();
    Span {
        trace_id: span.trace_id.clone(),
        span_id: span.span_id.clone(),
        operation_name: span.name.clone(),
        references: parent.into_iter().chain(links).collect(),
        // Only W3C's eight flags, since Jaeger does not define OTLP's flags above them.
        flags: span.flags & u32::from(u8::MAX),
        start_time: Some(timestamp(member.start())),
        duration: Some(Duration {
            seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
            // Less than a billion.
            nanos: duration.subsec_nanos().cast_signed(),
        }),
        tags: key_values(json::span_tags(member, raw)),
        logs: span
            .events
            .iter()
            .map(|event| Log {
                timestamp: Some(timestamp(event.time_unix_nano)),
                fields: key_values(json::event_fields(event, raw)),
            })
            .collect(),
        process: Some(Process {
            service_name: member.service().to_owned(),
            tags: key_values(json::process_tags(&member.resource, raw)),
        }),
        process_id: String::new(),
        warnings: member.warnings().into_iter().map(str::to_owned).collect(),
    }
}

fn reference(ref_type: SpanRefType, trace_id: &[u8], span_id: &[u8]) -> SpanRef {
    SpanRef {
        trace_id: trace_id.to_vec(),
        span_id: span_id.to_vec(),
        ref_type: ref_type.into(),
    }
}

fn timestamp(nanos: u64) -> Timestamp {
    Timestamp {
        seconds: i64::try_from(nanos / 1_000_000_000).unwrap_or(i64::MAX),
        nanos: i32::try_from(nanos % 1_000_000_000).unwrap_or(0),
    }
}

fn key_values(tags: Vec<Tag>) -> Vec<KeyValue> {
    tags.into_iter().map(key_value).collect()
}

fn key_value(Tag { key, kind, value }: Tag) -> KeyValue {
    // Numbers that JavaScript or JSON cannot represent are strings in the tag.
    let text = value.as_str();
    let mut pair = KeyValue {
        key,
        ..KeyValue::default()
    };
    match kind {
        "bool" => {
            pair.set_v_type(ValueType::Bool);
            pair.v_bool = value.as_bool().unwrap_or_default();
        }
        "int64" => {
            let parsed = text.and_then(|text| text.parse().ok());
            pair.set_v_type(ValueType::Int64);
            pair.v_int64 = value.as_i64().or(parsed).unwrap_or_default();
        }
        "float64" => {
            let parsed = text.and_then(|text| text.parse().ok());
            pair.set_v_type(ValueType::Float64);
            pair.v_float64 = value.as_f64().or(parsed).unwrap_or_default();
        }
        // Bytes stay in base64, as in JSON.
        _ => pair.v_str = text.unwrap_or_default().to_owned(),
    }
    pair
}
