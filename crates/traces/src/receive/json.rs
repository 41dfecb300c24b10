//! OTLP's JSON, turned into protobuf.

use bytes::Bytes;
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest, trace::v1::Span,
};
use prost::Message;
use serde_json::{Map, Value};

/// Bodies up to this size are read a second time if need be; as a tree a body takes many times
/// its size.
const MAX_TREE_BYTES: usize = 1 << 20;

/// The memory that reading this body may take, in bytes: `{}` is two bytes, the span that it may
/// be some hundred.
pub(super) fn memory(json: &[u8]) -> usize {
    let objects = json.iter().filter(|byte| **byte == b'{').count();
    objects.saturating_mul(size_of::<Span>())
}

/// Reads a JSON `ExportTraceServiceRequest`, and encodes it.
pub(super) fn to_protobuf(json: &[u8]) -> Result<Bytes, serde_json::Error> {
    let read = serde_json::from_slice::<ExportTraceServiceRequest>(json);
    let request = match read {
        Err(error) if error.is_data() && json.len() <= MAX_TREE_BYTES => {
            let mut tree = serde_json::from_slice(json)?;
            normalize(&mut tree);
            // The first error has the position.
            serde_json::from_value(tree).map_err(|_| error)?
        }
        read => read?,
    };
    Ok(request.encode_to_vec().into())
}

/// Brings what protobuf's JSON allows into the one form that the types insist on.
fn normalize(tree: &mut Value) {
    match tree {
        Value::Object(members) => {
            // Null is another way to say nothing.
            members.retain(|_, member| !member.is_null());
            number_from_text(members);
            for (name, member) in members {
                normalize(member);
                if let ("arrayValue" | "kvlistValue", Value::Object(list)) = (name.as_str(), member)
                {
                    list.entry("values")
                        .or_insert_with(|| Value::Array(Vec::new()));
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(normalize),
        _ => {}
    }
}

/// `"doubleValue": "1.5"` is a number. `"NaN"` and the infinities stay text: a tree has no such
/// numbers.
fn number_from_text(members: &mut Map<String, Value>) {
    const DOUBLE: &str = "doubleValue";
    let Some(Value::String(text)) = members.get(DOUBLE) else {
        return;
    };
    if let Ok(number) = text.parse::<f64>() {
        let (name, value) = match serde_json::Number::from_f64(number) {
            Some(number) => (DOUBLE, Value::Number(number)),
            None => ("stringValue", Value::String(text.clone())),
        };
        members.remove(DOUBLE);
        members.insert(name.to_owned(), value);
    }
}
