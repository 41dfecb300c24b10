//! OTLP/JSON as Jaeger writes it: IDs in hexadecimal, enums as numbers, 64-bit integers as strings,
//! without fields at their default value.
//!
//! <https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>

use std::borrow::Cow;

use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use prost::Message as _;
use serde::{
    Serialize, Serializer,
    ser::{Error, SerializeMap, SerializeSeq},
};

use crate::{
    TraceId,
    otlp_json::{Field, Kind, Message, RESOURCE_SPANS, Written},
    query::{TraceQueryError, api::ApiRequest, enrich::decoded, response::Buffer},
    scan::{Reader, WireError},
    tree::value::{base64, hex, is_zero, non_finite},
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
            // The format cannot report a trace that is left out, so the whole response is refused
            // if one is too large.
            let trace = self.request.reader.trace(*id);
            let trace = trace.map_err(|error| self.request.buffer.refuse::<S::Error>(error))?;
            for batch in trace.iter().flat_map(|trace| decoded(trace, self.raw)) {
                // Encoded again, since prost omits defaults and writes the elements of a list one
                // after the other, which a sender need not do. One batch at a time, and the decoded
                // batch is dropped first, so that the whole trace is not in memory twice.
                let bytes = batch.encode_to_vec();
                drop(batch);
                list.serialize_element(&Object {
                    message: &RESOURCE_SPANS,
                    fields: Reader::new(&bytes),
                })?;
            }
        }
        list.end()
    }
}

/// Spans as a file: an `ExportTraceServiceRequest` in OTLP/JSON, which any OTLP receiver accepts.
///
/// # Errors
/// [`TraceQueryError::ResponseTooLarge`].
pub fn to_otlp_json(batches: &[ResourceSpans]) -> Result<Vec<u8>, TraceQueryError> {
    let buffer = Buffer::default();
    let resource_spans = Encoded(batches);
    buffer.encode(&ExportRequest { resource_spans }, false)?;
    Ok(buffer.take())
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExportRequest<'a> {
    resource_spans: Encoded<'a>,
}

/// Batches that are encoded one at a time.
struct Encoded<'a>(&'a [ResourceSpans]);

impl Serialize for Encoded<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        for batch in self.0 {
            list.serialize_element(&Object {
                message: &RESOURCE_SPANS,
                fields: Reader::new(&batch.encode_to_vec()),
            })?;
        }
        list.end()
    }
}

/// A message as prost encodes it.
struct Object<'a> {
    message: &'static Message,
    fields: Reader<'a>,
}

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_map(None)?;
        let mut reader = self.fields;
        // Field numbers are at most 16.
        let mut written = 0_u32;
        while let Some(key) = reader.key().map_err(S::Error::custom)? {
            let Some(field) = self.message.field_by_number(key >> 3) else {
                reader.skip_unknown(key, 0).map_err(S::Error::custom)?;
                continue;
            };
            written |= 1 << field.number;
            let value = value(field, key, &mut reader).map_err(S::Error::custom)?;
            if !matches!(value, Value::Absent) && field.written != Written::Never {
                members.serialize_entry(field.name, &value)?;
            }
        }
        for field in self.message.fields {
            if field.written == Written::Always && written & 1 << field.number == 0 {
                members.serialize_entry(field.name, &Empty {})?;
            }
        }
        members.end()
    }
}

/// `{}`.
#[derive(Serialize)]
struct Empty {}

#[derive(Serialize)]
#[serde(untagged)]
enum Value<'a> {
    /// An ID of zeros, which represents none.
    Absent,
    Bool(bool),
    Number(i64),
    Double(f64),
    Text(Cow<'a, str>),
    Object(Object<'a>),
    List(Elements<'a>),
}

/// The elements of a repeated field, read while they are written: a list would take up to as much
/// memory as the decoded trace.
struct Elements<'a> {
    field: &'static Field,
    key: u32,
    /// At the first element, after its key.
    reader: Reader<'a>,
}

impl Serialize for Elements<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        let mut reader = self.reader;
        loop {
            let element = element(&self.field.kind, &mut reader).map_err(S::Error::custom)?;
            list.serialize_element(&element)?;
            if reader.key().map_err(S::Error::custom)? != Some(self.key) {
                return list.end();
            }
        }
    }
}

/// Reads a field's value, and skips all elements of a repeated field.
fn value<'a>(
    field: &'static Field,
    key: u32,
    reader: &mut Reader<'a>,
) -> Result<Value<'a>, WireError> {
    if !field.is_repeated {
        return element(&field.kind, reader);
    }
    let elements = Elements {
        field,
        key,
        reader: *reader,
    };
    loop {
        reader.skip_unknown(key, 0)?;
        let mut next = *reader;
        if next.key()? != Some(key) {
            return Ok(Value::List(elements));
        }
        *reader = next;
    }
}

fn element<'a>(kind: &'static Kind, reader: &mut Reader<'a>) -> Result<Value<'a>, WireError> {
    let long = |number: &dyn ToString| Value::Text(number.to_string().into());
    Ok(match kind {
        Kind::Text => Value::Text(String::from_utf8_lossy(reader.text()?)),
        Kind::Id => match reader.bytes()? {
            id if is_zero(id) => Value::Absent,
            id => Value::Text(hex(id).into()),
        },
        Kind::Bytes => Value::Text(base64(reader.bytes()?).into()),
        Kind::Bool => Value::Bool(reader.varint()? != 0),
        Kind::Int64 => long(&reader.varint()?.cast_signed()),
        Kind::Fixed64 => long(&reader.fixed64()?),
        Kind::Uint32 | Kind::Enum(_) => Value::Number(reader.varint()?.cast_signed()),
        Kind::Fixed32 => Value::Number(reader.fixed32()?.into()),
        Kind::Double => match f64::from_bits(reader.fixed64()?) {
            number if number.is_finite() => Value::Double(number),
            number => Value::Text(non_finite(number).into()),
        },
        Kind::Message(message) => Value::Object(Object {
            message,
            fields: reader.message()?,
        }),
    })
}
