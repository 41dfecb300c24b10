//! Converts a JSON schema to the structural schema that a custom resource definition requires.

use serde_json::{Map, Value, json};

/// Leaves `metadata` to the API server, and removes what structural schemas do not allow.
pub(super) fn structural(mut schema: Value) -> Value {
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        // The definition fixes the values of these two, so constraints would be redundant.
        properties.insert("apiVersion".to_owned(), json!({"type": "string"}));
        properties.insert("kind".to_owned(), json!({"type": "string"}));
        // The API server allows constraints only on `name` and `generateName` of `metadata`.
        let name = json!({"name": {"type": "string"}});
        let metadata = json!({"type": "object", "properties": name});
        properties.insert("metadata".to_owned(), metadata);
    }
    if let Some(root) = schema.as_object_mut() {
        root.insert("required".to_owned(), json!(["spec"]));
    }
    clean(&mut schema);
    schema
}

fn clean(schema: &mut Value) {
    let Value::Object(fields) = schema else {
        return;
    };
    // Not allowed together with `properties`. The API server prunes unknown fields anyway, and
    // kubectl rejects them.
    if fields.get("additionalProperties") == Some(&Value::Bool(false)) {
        fields.remove("additionalProperties");
    }
    for unknown in ["title", "examples", "$schema"] {
        fields.remove(unknown);
    }
    if let Some(description) = fields.get_mut("description") {
        *description = Value::String(plain(description.as_str().unwrap_or_default()));
    }
    whole_numbers(fields);
    for nested in ["items", "additionalProperties"] {
        if let Some(schema) = fields.get_mut(nested) {
            clean(schema);
        }
    }
    if let Some(properties) = fields.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(clean);
    }
}

/// Converts integer formats.
///
/// Kubernetes has no unsigned formats, so those become `int64` with a minimum of 0. It does not
/// enforce formats either, so `int32` gets explicit limits.
fn whole_numbers(fields: &mut Map<String, Value>) {
    match fields.get("format").and_then(Value::as_str) {
        Some("uint32" | "uint64") => {
            fields.insert("format".to_owned(), "int64".into());
            fields.insert("minimum".to_owned(), 0.into());
        }
        Some("int32") => {
            fields.entry("minimum").or_insert(i32::MIN.into());
            fields.entry("maximum").or_insert(i32::MAX.into());
        }
        _ => {}
    }
}

/// Converts a doc comment for `kubectl explain`: without links, each paragraph on one line.
fn plain(comment: &str) -> String {
    let paragraphs = comment.split("\n\n").map(|paragraph| {
        let line = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
        line.replace("[`", "`").replace("`]", "`")
    });
    paragraphs.collect::<Vec<_>>().join("\n\n")
}
