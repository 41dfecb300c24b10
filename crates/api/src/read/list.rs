//! Lists, as printed by `kubectl get samplingpolicies -o yaml` and the API server.

use serde_json::{Map, Value};

use crate::{API_VERSION, FieldError, FieldPath, SamplingPolicy};

/// The resources of a document with their paths: the items of a list, or the document itself. An
/// empty document has none.
pub(super) fn resources(value: Value) -> Result<Vec<(FieldPath, Value)>, FieldError> {
    let root = FieldPath::root();
    match value {
        Value::Null => Ok(vec![]),
        Value::Object(fields) if is_list(&fields) => items(fields, &root.field("items")),
        resource => Ok(vec![(root, resource)]),
    }
}

fn is_list(fields: &Map<String, Value>) -> bool {
    let text = |field: &str| fields.get(field).and_then(Value::as_str);
    match text("kind") {
        Some("List") => text("apiVersion") == Some("v1"),
        Some(kind) => {
            kind.strip_suffix("List") == Some(SamplingPolicy::KIND)
                && text("apiVersion") == Some(API_VERSION)
        }
        None => false,
    }
}

fn items(
    mut fields: Map<String, Value>,
    at: &FieldPath,
) -> Result<Vec<(FieldPath, Value)>, FieldError> {
    match fields.remove("items") {
        Some(Value::Array(items)) => {
            let items = items.into_iter().enumerate();
            Ok(items.map(|(index, item)| (at.index(index), item)).collect())
        }
        _ => Err(FieldError::new(at.clone(), "must be a list of resources")),
    }
}
