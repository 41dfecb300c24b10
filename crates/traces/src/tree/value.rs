//! Attribute values as text.

use std::fmt::Write;

use base64::{Engine, engine::general_purpose::STANDARD};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};

/// A value as people read it: strings as they are, lists and maps as JSON, bytes as base64.
#[must_use]
pub fn text(value: Option<&AnyValue>) -> String {
    match value.and_then(|any| any.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::BytesValue(bytes)) => base64(bytes),
        Some(Value::DoubleValue(number)) if !number.is_finite() => non_finite(*number).to_owned(),
        Some(other) => json(other).to_string(),
        None => String::new(),
    }
}

/// The value under a key, if it is a string that is not empty.
#[must_use]
pub fn string<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) if !text.is_empty() => Some(text),
        _ => None,
    }
}

/// Bytes as lower-case hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(
        String::with_capacity(bytes.len() * 2),
        |mut digits, byte| {
            // Writing to a String cannot fail.
            let _ = write!(digits, "{byte:02x}");
            digits
        },
    )
}

/// Bytes in standard base64 with padding, as JSON carries them.
#[must_use]
pub fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// How JSON names the numbers that it has no literal for.
#[must_use]
pub fn non_finite(number: f64) -> &'static str {
    if number.is_nan() {
        "NaN"
    } else if number > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    }
}

fn json(value: &Value) -> serde_json::Value {
    match value {
        Value::StringValue(text) => text.as_str().into(),
        Value::BoolValue(flag) => (*flag).into(),
        Value::IntValue(number) => (*number).into(),
        Value::DoubleValue(number) if !number.is_finite() => non_finite(*number).into(),
        Value::DoubleValue(number) => (*number).into(),
        Value::BytesValue(bytes) => base64(bytes).into(),
        Value::StringValueStrindex(index) => (*index).into(),
        Value::ArrayValue(array) => array.values.iter().map(any).collect(),
        Value::KvlistValue(map) => map
            .values
            .iter()
            .map(|entry| {
                let value = entry.value.as_ref().map_or(serde_json::Value::Null, any);
                (entry.key.clone(), value)
            })
            .collect(),
    }
}

fn any(value: &AnyValue) -> serde_json::Value {
    value.value.as_ref().map_or(serde_json::Value::Null, json)
}
