//! Attribute values as text, and text that can be shown.

use std::borrow::Cow;

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

/// Escapes the characters that control a terminal or reorder text: NUL becomes `␀`, a
/// bidirectional override `\u{202e}`. Line breaks and tabs stay.
#[must_use]
pub fn visible(text: &str) -> Cow<'_, str> {
    escaped(text, |c| is_invisible(c) && !matches!(c, '\n' | '\t'))
}

/// Escapes a single line as [`visible`] does, and its line breaks and tabs, too.
#[must_use]
pub fn visible_line(text: &str) -> Cow<'_, str> {
    escaped(text, is_invisible)
}

/// True for the characters that move or reorder text. All are below U+10000.
///
/// Source: Unicode, `Cc`, `Bidi_Control`, and the separators of lines and paragraphs.
#[must_use]
pub fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
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
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    ::hex::encode(bytes)
}

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

fn json(value: &Value) -> serde_json::Value {
    match value {
        Value::StringValue(text) => text.as_str().into(),
        Value::BoolValue(flag) => (*flag).into(),
        Value::IntValue(number) => (*number).into(),
        Value::DoubleValue(number) if !number.is_finite() => non_finite(*number).into(),
        Value::DoubleValue(number) => (*number).into(),
        Value::BytesValue(bytes) => base64(bytes).into(),
        // An index into the string table of profiles, which spans do not have.
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

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

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
