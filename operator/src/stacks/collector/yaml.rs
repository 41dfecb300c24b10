//! A writer of configuration that every YAML reader reads alike.
//!
//! Texts are always quoted: what one version of YAML reads as a text (`0o17`, `1:30`, `yes`),
//! another reads as something else. Characters that readers treat differently (line ends beyond
//! ASCII, byte order marks) are escaped.

use serde_json::{Map, Value};

/// Writes the value as a YAML document.
pub(super) fn document(value: &Value) -> String {
    let mut text = String::new();
    match value {
        Value::Object(fields) if !fields.is_empty() => mapping(fields, 0, true, &mut text),
        Value::Array(items) if !items.is_empty() => sequence(items, 0, &mut text),
        scalar => {
            self::scalar(scalar, &mut text);
            text.push('\n');
        }
    }
    text
}

/// Writes each field on a line of its own. The first one may follow a dash.
fn mapping(fields: &Map<String, Value>, indent: usize, indent_first: bool, text: &mut String) {
    for (at, (key, value)) in fields.iter().enumerate() {
        if at > 0 || indent_first {
            indentation(indent, text);
        }
        if is_plain(key) {
            text.push_str(key);
        } else {
            quoted(key, text);
        }
        text.push(':');
        match value {
            Value::Object(fields) if !fields.is_empty() => {
                text.push('\n');
                mapping(fields, indent + 2, true, text);
            }
            Value::Array(items) if !items.is_empty() => {
                text.push('\n');
                sequence(items, indent, text);
            }
            value => {
                text.push(' ');
                scalar(value, text);
                text.push('\n');
            }
        }
    }
}

fn sequence(items: &[Value], indent: usize, text: &mut String) {
    for item in items {
        indentation(indent, text);
        match item {
            Value::Object(fields) if !fields.is_empty() => {
                text.push_str("- ");
                mapping(fields, indent + 2, false, text);
            }
            Value::Array(items) if !items.is_empty() => {
                text.push_str("-\n");
                sequence(items, indent + 2, text);
            }
            item => {
                text.push_str("- ");
                scalar(item, text);
                text.push('\n');
            }
        }
    }
}

fn indentation(indent: usize, text: &mut String) {
    text.extend(std::iter::repeat_n(' ', indent));
}

fn scalar(value: &Value, text: &mut String) {
    match value {
        Value::Null => text.push_str("null"),
        Value::Bool(flag) => text.push_str(if *flag { "true" } else { "false" }),
        Value::Number(number) => text.push_str(&number.to_string()),
        Value::String(string) => quoted(string, text),
        Value::Array(_) => text.push_str("[]"),
        Value::Object(_) => text.push_str("{}"),
    }
}

/// Returns true for a key that every reader takes for a text.
fn is_plain(key: &str) -> bool {
    const OTHER_THINGS: [&str; 8] = ["true", "false", "yes", "no", "on", "off", "null", "y"];
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || matches!(byte, b'_' | b'/' | b'-');
    key.bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_lowercase())
        && key
            .bytes()
            .all(|byte| is_plain(byte) || byte.is_ascii_digit())
        && key != "n"
        && !OTHER_THINGS.contains(&key)
}

fn quoted(string: &str, text: &mut String) {
    text.push('"');
    for char in string.chars() {
        match char {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            ' '..='~' => text.push(char),
            letter if letter.is_alphanumeric() => text.push(letter),
            other => text.push_str(&format!("\\U{:08x}", u32::from(other))),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::{collection::vec, prelude::*};
    use serde_json::json;

    use super::*;

    fn value() -> impl Strategy<Value = Value> {
        let text = prop_oneof![any::<String>(), "[a-z0-9:~.$%{}\"'\\\\\n-]{0,12}"];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            (-1e9..1e9).prop_map(Value::from),
            text.clone().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 64, 6, move |inner| {
            prop_oneof![
                vec(inner.clone(), 0..6).prop_map(Value::from),
                proptest::collection::btree_map(text.clone(), inner, 0..6)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn reads_back_unchanged(value in value()) {
            let text = document(&value);
            let read: Value = serde_yaml::from_str(&text)
                .map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
            prop_assert_eq!(read, value, "{}", text);
        }
    }

    #[test]
    fn writes_idiomatic_yaml() {
        let value = json!({
            "receivers": {"otlp": {"protocols": {"grpc": {}}}},
            "policies": [{"name": "a/b", "span": ["x == \"\u{2028}\"", "ü"]}, [1, 2.5], true],
            "yes": null,
        });
        insta::assert_snapshot!(document(&value), @r#"
        policies:
        - name: "a/b"
          span:
          - "x == \"\U00002028\""
          - "ü"
        -
          - 1
          - 2.5
        - true
        receivers:
          otlp:
            protocols:
              grpc: {}
        "yes": null
        "#);
    }
}
