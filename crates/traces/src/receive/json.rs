//! OTLP's JSON, turned into protobuf.

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use serde_json::Value;

/// Bodies up to this size are read a second time if need be; as a tree a body takes many times
/// its size.
const MAX_TREE_BYTES: usize = 1 << 20;

/// Reads a JSON `ExportTraceServiceRequest`, and encodes it.
pub(super) fn to_protobuf(json: &[u8]) -> Result<Bytes, serde_json::Error> {
    let read = serde_json::from_slice::<ExportTraceServiceRequest>(json);
    let request = match read {
        Err(error) if error.is_data() && json.len() <= MAX_TREE_BYTES => {
            let mut tree = serde_json::from_slice(json)?;
            fill_lists(&mut tree);
            // The first error has the position.
            serde_json::from_value(tree).map_err(|_| error)?
        }
        read => read?,
    };
    Ok(request.encode_to_vec().into())
}

/// Writes out the empty lists that protobuf's JSON leaves out and the types insist on.
fn fill_lists(tree: &mut Value) {
    match tree {
        Value::Object(members) => {
            for (name, member) in members {
                if let ("arrayValue" | "kvlistValue", Value::Object(list)) =
                    (name.as_str(), &mut *member)
                {
                    list.entry("values")
                        .or_insert_with(|| Value::Array(Vec::new()));
                }
                fill_lists(member);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(fill_lists),
        _ => {}
    }
}
