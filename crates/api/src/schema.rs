//! The JSON schemas of the resources.
//!
//! Custom resource definitions allow neither references nor null as a type. So schemas are inlined,
//! and optional fields may be absent but not null.

use std::sync::LazyLock;

use schemars::{
    JsonSchema, Schema,
    generate::SchemaSettings,
    transform::{RecursiveTransform, Transform},
};
use serde_json::Value;

use crate::{SamplingPolicy, TracingStack};

// Generated once, since every resource that is read is compared with its schema.
/// The schema of [`SamplingPolicy`].
pub static SAMPLING_POLICY: LazyLock<Value> = LazyLock::new(of::<SamplingPolicy>);
/// The schema of [`TracingStack`].
pub static TRACING_STACK: LazyLock<Value> = LazyLock::new(of::<TracingStack>);

fn of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft07().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    // In this order: an optional enum is the enum or null until null is removed.
    RecursiveTransform(remove_null).transform(&mut schema);
    RecursiveTransform(constants_to_enum).transform(&mut schema);
    schema.to_value()
}

/// Turns `type: [string, null]` into `type: string`, and `anyOf: [X, {type: null}]` into `X`.
fn remove_null(schema: &mut Schema) {
    let Some(object) = schema.as_object_mut() else {
        return;
    };
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            object.insert("type".to_owned(), only);
        }
    }
    let Some(Value::Array(choices)) = object.get_mut("anyOf") else {
        return;
    };
    choices.retain(|choice| choice.get("type").is_none_or(|kind| kind != "null"));
    if let [Value::Object(only)] = choices.as_slice() {
        let only = only.clone();
        object.remove("anyOf");
        for (key, value) in only {
            // The description of the field takes precedence over that of its type.
            object.entry(key).or_insert(value);
        }
    }
}

/// Turns `oneOf: [{const: A}, {const: B}]` into `enum: [A, B]`.
fn constants_to_enum(schema: &mut Schema) {
    let Some(object) = schema.as_object_mut() else {
        return;
    };
    // schemars lists variants with doc comments separately. A structural schema must have a `type`
    // instead.
    let Some(Value::Array(choices)) = object.get("oneOf") else {
        return;
    };
    let words = choices.iter().map(|choice| choice.get("const").cloned());
    if let Some(words) = words.collect::<Option<Vec<Value>>>() {
        object.remove("oneOf");
        object.insert("type".to_owned(), "string".into());
        object.insert("enum".to_owned(), Value::Array(words));
    }
}
