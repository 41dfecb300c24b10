//! OTLP/JSON, converted to protobuf while it is read.
//!
//! The rules are those of proto3's JSON mapping with OTLP's exceptions: IDs are hexadecimal, and a
//! field has one name, in lowerCamelCase. A name in snake_case is unknown, and unknown fields are
//! ignored. The response mentions some of them: see [`Ignored`].
//!
//! Sources: OTLP specification 1.9, "JSON Protobuf Encoding";
//! <https://protobuf.dev/programming-guides/json/>.

mod field;
mod ignored;
mod output;

use std::fmt;

use bytes::Bytes;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, TracesData};
use prost::Message as _;
use serde::{
    Deserializer,
    de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, Visitor},
};

pub(super) use ignored::Ignored;

use field::FieldValue;
use output::Output;

use crate::otlp_json::{Field, Message, REQUEST};

/// Reads the spans of a JSON `TracesData`, as the query API v3 returns it, or of an
/// `ExportTraceServiceRequest`, which has the same fields. Unlike serde's derived implementation,
/// it accepts objects without the fields that proto3's JSON mapping omits, such as an empty array,
/// and the mapping's forms of NaN and infinities.
///
/// # Errors
/// The error of the first invalid value.
pub fn read_spans(json: &[u8]) -> Result<Vec<ResourceSpans>, serde_json::Error> {
    let (protobuf, _) = to_protobuf(json)?;
    let data = TracesData::decode(protobuf).map_err(serde_json::Error::custom)?;
    Ok(data.resource_spans)
}

/// Reads a JSON `ExportTraceServiceRequest`, and encodes it as protobuf.
///
/// The result is never longer than the JSON, and nothing else is kept in memory.
pub(super) fn to_protobuf(json: &[u8]) -> Result<(Bytes, Ignored), serde_json::Error> {
    // serde_json's message would repeat the string, escaped: four times the length of the body.
    if json.trim_ascii_start().starts_with(b"\"") {
        return Err(serde_json::Error::custom(
            "invalid type: a string, expected an object",
        ));
    }
    let mut output = Output(Vec::with_capacity(json.len()));
    let mut ignored = Ignored::default();
    // serde_json refuses 128 levels and more, which bounds the recursion.
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    deserializer.deserialize_map(Fields {
        message: &REQUEST,
        output: &mut output,
        ignored: &mut ignored,
    })?;
    deserializer.end()?;
    Ok((output.0.into(), ignored))
}

/// The members of an object: the fields of a message.
struct Fields<'o> {
    message: &'static Message,
    output: &'o mut Output,
    ignored: &'o mut Ignored,
}

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        loop {
            let name = Name {
                message: self.message,
                ignored: self.ignored,
            };
            match members.next_key_seed(name)? {
                Some(Some(field)) => members.next_value_seed(FieldValue {
                    field,
                    is_element: false,
                    output: self.output,
                    ignored: self.ignored,
                })?,
                Some(None) => drop(members.next_value::<IgnoredAny>()?),
                None => return Ok(()),
            }
        }
    }
}

/// The name of a member, which may be an unknown field.
struct Name<'o> {
    message: &'static Message,
    ignored: &'o mut Ignored,
}

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = Option<&'static Field>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name<'_> {
    type Value = Option<&'static Field>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        let field = self.message.field(name);
        match field {
            Some(_) => self.ignored.has_known = true,
            None => self.ignored.note_unknown(self.message, name),
        }
        Ok(field)
    }
}

#[cfg(test)]
mod tests;
