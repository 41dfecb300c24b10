//! OTLP's JSON as Jaeger writes it: ids in hexadecimal, enums as numbers, 64-bit integers as
//! strings, fields with their default value left out.
//!
//! <https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>

use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value},
    resource::v1::Resource,
    trace::v1::{
        ResourceSpans, ScopeSpans, Span, Status,
        span::{Event, Link},
    },
};
use serde::{
    Serialize, Serializer,
    ser::{Error, SerializeMap, SerializeSeq},
};

use crate::{
    TraceId,
    query::{api::ApiRequest, enrich::decoded},
    tree::value::{base64, hex, non_finite},
};

/// `{"result": {"resourceSpans": […]}}`, with these traces read and written one at a time.
#[derive(Debug, Serialize)]
pub struct V3Traces {
    result: TracesData,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct TracesData {
    resource_spans: Batches,
}

#[derive(Debug)]
struct Batches {
    request: ApiRequest,
    ids: Vec<TraceId>,
    raw: bool,
}

impl V3Traces {
    pub fn new(request: ApiRequest, ids: Vec<TraceId>, raw: bool) -> Self {
        let resource_spans = Batches { request, ids, raw };
        let result = TracesData { resource_spans };
        Self { result }
    }
}

impl Serialize for Batches {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        for id in &self.ids {
            // The format cannot tell that a trace is missing, so the whole response is refused.
            let trace = self.request.reader.trace(*id).map_err(|error| {
                let refused = S::Error::custom(&error);
                self.request.buffer.refuse(error);
                refused
            })?;
            for batch in trace.iter().flat_map(|trace| decoded(trace, self.raw)) {
                list.serialize_element(&Out(&batch))?;
            }
        }
        list.end()
    }
}

/// A message as this format writes it.
struct Out<'a, T>(&'a T);

/// Writes the entries of an object, leaving out those with their default value.
struct Fields<M>(M);

impl<M: SerializeMap> Fields<M> {
    fn text(&mut self, key: &'static str, value: &str) -> Result<(), M::Error> {
        match value {
            "" => Ok(()),
            value => self.0.serialize_entry(key, value),
        }
    }

    fn id(&mut self, key: &'static str, id: &[u8]) -> Result<(), M::Error> {
        match id.iter().all(|byte| *byte == 0) {
            true => Ok(()),
            false => self.0.serialize_entry(key, &hex(id)),
        }
    }

    fn number<N>(&mut self, key: &'static str, number: N) -> Result<(), M::Error>
    where
        N: Default + PartialEq + Serialize,
    {
        match number == N::default() {
            true => Ok(()),
            false => self.0.serialize_entry(key, &number),
        }
    }

    fn nanos(&mut self, key: &'static str, nanos: u64) -> Result<(), M::Error> {
        match nanos {
            0 => Ok(()),
            nanos => self.0.serialize_entry(key, &nanos.to_string()),
        }
    }

    fn list<'a, T>(&mut self, key: &'static str, list: &'a [T]) -> Result<(), M::Error>
    where
        Out<'a, T>: Serialize,
    {
        match list {
            [] => Ok(()),
            list => self.0.serialize_entry(key, &List(list)),
        }
    }

    /// A message that is always there, if only as `{}`.
    fn message<'a, T>(&mut self, key: &'static str, of: &'a T) -> Result<(), M::Error>
    where
        Out<'a, T>: Serialize,
    {
        self.0.serialize_entry(key, &Out(of))
    }
}

struct List<'a, T>(&'a [T]);

impl<'a, T> Serialize for List<'a, T>
where
    Out<'a, T>: Serialize,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(Some(self.0.len()))?;
        for element in self.0 {
            seq.serialize_element(&Out(element))?;
        }
        seq.end()
    }
}

/// Implements `Serialize` for a message from the list of its fields.
macro_rules! object {
    ($message:ty, |$of:ident, $fields:ident| { $($field:expr;)* }) => {
        impl Serialize for Out<'_, $message> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let $of = self.0;
                let mut $fields = Fields(serializer.serialize_map(None)?);
                $($field?;)*
                $fields.0.end()
            }
        }
    };
}

object!(ResourceSpans, |of, fields| {
    fields.message("resource", of.resource.as_ref().unwrap_or(&NO_RESOURCE));
    fields.list("scopeSpans", &of.scope_spans);
    fields.text("schemaUrl", &of.schema_url);
});

object!(Resource, |of, fields| {
    fields.list("attributes", &of.attributes);
    fields.number("droppedAttributesCount", of.dropped_attributes_count);
});

object!(ScopeSpans, |of, fields| {
    fields.message("scope", of.scope.as_ref().unwrap_or(&NO_SCOPE));
    fields.list("spans", &of.spans);
    fields.text("schemaUrl", &of.schema_url);
});

object!(InstrumentationScope, |of, fields| {
    fields.text("name", &of.name);
    fields.text("version", &of.version);
    fields.list("attributes", &of.attributes);
    fields.number("droppedAttributesCount", of.dropped_attributes_count);
});

object!(Span, |of, fields| {
    fields.id("traceId", &of.trace_id);
    fields.id("spanId", &of.span_id);
    fields.text("traceState", &of.trace_state);
    fields.id("parentSpanId", &of.parent_span_id);
    fields.number("flags", of.flags);
    fields.text("name", &of.name);
    fields.number("kind", of.kind);
    fields.nanos("startTimeUnixNano", of.start_time_unix_nano);
    fields.nanos("endTimeUnixNano", of.end_time_unix_nano);
    fields.list("attributes", &of.attributes);
    fields.number("droppedAttributesCount", of.dropped_attributes_count);
    fields.list("events", &of.events);
    fields.number("droppedEventsCount", of.dropped_events_count);
    fields.list("links", &of.links);
    fields.number("droppedLinksCount", of.dropped_links_count);
    fields.message("status", of.status.as_ref().unwrap_or(&NO_STATUS));
});

object!(Event, |of, fields| {
    fields.nanos("timeUnixNano", of.time_unix_nano);
    fields.text("name", &of.name);
    fields.list("attributes", &of.attributes);
    fields.number("droppedAttributesCount", of.dropped_attributes_count);
});

object!(Link, |of, fields| {
    fields.id("traceId", &of.trace_id);
    fields.id("spanId", &of.span_id);
    fields.text("traceState", &of.trace_state);
    fields.list("attributes", &of.attributes);
    fields.number("droppedAttributesCount", of.dropped_attributes_count);
    fields.number("flags", of.flags);
});

object!(Status, |of, fields| {
    fields.text("message", &of.message);
    fields.number("code", of.code);
});

object!(KeyValue, |of, fields| {
    fields.text("key", &of.key);
    fields.message("value", of.value.as_ref().unwrap_or(&NO_VALUE));
});

impl Serialize for Out<'_, AnyValue> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match &self.0.value {
            None => {}
            Some(Value::StringValue(text)) => map.serialize_entry("stringValue", text)?,
            Some(Value::BoolValue(flag)) => map.serialize_entry("boolValue", flag)?,
            Some(Value::IntValue(number)) => {
                map.serialize_entry("intValue", &number.to_string())?;
            }
            Some(Value::DoubleValue(number)) if number.is_finite() => {
                map.serialize_entry("doubleValue", number)?;
            }
            Some(Value::DoubleValue(number)) => {
                map.serialize_entry("doubleValue", non_finite(*number))?;
            }
            Some(Value::ArrayValue(array)) => {
                map.serialize_entry("arrayValue", &Values(&array.values))?;
            }
            Some(Value::KvlistValue(list)) => {
                map.serialize_entry("kvlistValue", &Values(&list.values))?;
            }
            Some(Value::BytesValue(bytes)) => map.serialize_entry("bytesValue", &base64(bytes))?,
            Some(Value::StringValueStrindex(index)) => {
                map.serialize_entry("stringValueStrindex", index)?;
            }
        }
        map.end()
    }
}

/// `{"values": […]}`, as arrays and maps are written.
struct Values<'a, T>(&'a [T]);

impl<'a, T> Serialize for Values<'a, T>
where
    Out<'a, T>: Serialize,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = Fields(serializer.serialize_map(None)?);
        fields.list("values", self.0)?;
        fields.0.end()
    }
}

const NO_VALUE: AnyValue = AnyValue { value: None };
const NO_STATUS: Status = Status {
    message: String::new(),
    code: 0,
};
const NO_SCOPE: InstrumentationScope = InstrumentationScope {
    name: String::new(),
    version: String::new(),
    attributes: Vec::new(),
    dropped_attributes_count: 0,
};
const NO_RESOURCE: Resource = Resource {
    attributes: Vec::new(),
    dropped_attributes_count: 0,
    entity_refs: Vec::new(),
};
