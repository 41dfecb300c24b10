//! Attribute values as text, and text that can be shown.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::BufMut;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use serde::{Serialize, Serializer};
use spoor_policy::message::is_invisible;

/// A value in a form that people can read: strings as they are, lists and maps as JSON, bytes as
/// base64.
#[must_use]
pub fn text(value: Option<&AnyValue>) -> String {
    match value.and_then(|any| any.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::BytesValue(bytes)) => base64(bytes),
        Some(Value::DoubleValue(number)) if !number.is_finite() => non_finite(*number).to_owned(),
        Some(other) => {
            let mut json = Vec::<u8>::new().limit(MAX_JSON_BYTES).writer();
            match serde_json::to_writer(&mut json, &Json(other)) {
                Ok(()) => String::from_utf8(json.into_inner().into_inner()).unwrap_or_default(),
                Err(_) => TOO_LONG.to_owned(),
            }
        }
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

/// Escapes the characters that control a terminal or reorder text: NUL becomes `␀`, a
/// bidirectional override `\u{202e}`. Line feeds and tabs stay.
#[must_use]
pub fn visible(text: &str) -> Cow<'_, str> {
    escaped(text, |c| is_invisible(c) && !matches!(c, '\n' | '\t'))
}

/// Escapes a text as [`visible`] does, but also its line feeds and tabs, so that it is one line.
#[must_use]
pub fn visible_line(text: &str) -> Cow<'_, str> {
    escaped(text, is_invisible)
}

fn escaped(text: &str, is_hidden: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.chars().any(&is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if !is_hidden(c) => shown.push(c),
            // Unicode has pictures of these.
            '\0'..='\x1f' => shown.extend(char::from_u32(0x2400 + u32::from(c))),
            '\x7f' => shown.push('\u{2421}'),
            c => shown.extend(c.escape_unicode()),
        }
    }
    Cow::Owned(shown)
}

/// Returns whether an ID is empty or all zeros.
#[must_use]
pub fn is_zero(id: &[u8]) -> bool {
    id.iter().all(|byte| *byte == 0)
}

/// Bytes as lower-case hexadecimal digits.
pub use ::hex::encode as hex;

/// Bytes in standard base64 with padding, as JSON carries them.
#[must_use]
pub fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// The names of numbers that have no literal in JSON.
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

/// The longest list or map that is shown, in bytes of JSON. Escapes may make a text six times as
/// long, and a span may have several such values.
const MAX_JSON_BYTES: usize = 8 << 20;

/// The text shown in place of a longer list or map.
const TOO_LONG: &str = "(this value is too long to be shown)";

/// A value as JSON. Written directly: as a [`serde_json::Value`], a map of one entry would take a
/// hundred times its encoded length.
struct Json<'a>(&'a Value);

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::StringValue(text) => serializer.serialize_str(text),
            Value::BoolValue(flag) => serializer.serialize_bool(*flag),
            Value::IntValue(number) => serializer.serialize_i64(*number),
            Value::DoubleValue(number) if !number.is_finite() => {
                serializer.serialize_str(non_finite(*number))
            }
            Value::DoubleValue(number) => serializer.serialize_f64(*number),
            Value::BytesValue(bytes) => serializer.serialize_str(&base64(bytes)),
            // An index into the string table of profiles, which spans do not have.
            Value::StringValueStrindex(index) => serializer.serialize_i32(*index),
            Value::ArrayValue(array) => serializer.collect_seq(array.values.iter().map(any)),
            Value::KvlistValue(map) => {
                let mut entries: Vec<&KeyValue> = map.values.iter().collect();
                entries.sort_by(|a, b| a.key.cmp(&b.key));
                let entries = entries.into_iter();
                serializer.collect_map(entries.map(|it| (&it.key, it.value.as_ref().and_then(any))))
            }
        }
    }
}

fn any(value: &AnyValue) -> Option<Json<'_>> {
    value.value.as_ref().map(Json)
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::{ArrayValue, KeyValueList};
    use rstest::rstest;

    use super::*;

    #[test]
    fn lists_and_maps_are_json() {
        let any = |value| AnyValue { value };
        let pair = |key: &str, value| KeyValue {
            key: key.to_owned(),
            value: Some(any(value)),
            ..KeyValue::default()
        };
        let map = Value::KvlistValue(KeyValueList {
            values: vec![
                pair("b", Some(Value::DoubleValue(f64::NAN))),
                pair("a", Some(Value::StringValue("\"x\"".to_owned()))),
                pair("c", None),
                KeyValue::default(),
            ],
        });
        let values = vec![
            any(Some(map)),
            any(Some(Value::IntValue(-7))),
            any(Some(Value::DoubleValue(1.0))),
            any(Some(Value::BytesValue(vec![0, 255]))),
            any(None),
        ];
        let list = any(Some(Value::ArrayValue(ArrayValue { values })));
        let expected = r#"[{"":null,"a":"\"x\"","b":"NaN","c":null},-7,1.0,"AP8=",null]"#;
        assert_eq!(text(Some(&list)), expected);
        let long = any(Some(Value::StringValue("\0".repeat(6 << 20))));
        let values = vec![long];
        let list = any(Some(Value::ArrayValue(ArrayValue { values })));
        assert_eq!(text(Some(&list)), TOO_LONG);
    }

    #[rstest]
    #[case::plain("GET /ü 中 👩‍🚀", "GET /ü 中 👩‍🚀", "GET /ü 中 👩‍🚀")]
    #[case::nul("a\0b", "a␀b", "a␀b")]
    #[case::escape("\u{1b}[2J", "␛[2J", "␛[2J")]
    #[case::lines("a\n\tb", "a\n\tb", "a␊␉b")]
    #[case::delete("\u{7f}", "␡", "␡")]
    #[case::c1("\u{9b}1m", "\\u{9b}1m", "\\u{9b}1m")]
    #[case::override_("a\u{202e}b", "a\\u{202e}b", "a\\u{202e}b")]
    #[case::isolate("\u{2066}", "\\u{2066}", "\\u{2066}")]
    #[case::mark("\u{200f}", "\\u{200f}", "\\u{200f}")]
    fn invisible_characters_are_escaped(
        #[case] text: &str,
        #[case] lines: &str,
        #[case] line: &str,
    ) {
        assert_eq!((&*visible(text), &*visible_line(text)), (lines, line));
    }
}
