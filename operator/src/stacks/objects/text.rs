//! Configuration as text, and hashes of it.

use serde_json::Value;
use xxhash_rust::xxh3::xxh3_64;

/// The value as YAML, with sorted keys and every string value in quotes: without
/// quotes, versions of YAML differ in how they read `0o17`, `1:30` or `yes`.
#[must_use]
pub fn yaml(value: &Value) -> String {
    let options = serde_saphyr::ser_options! { quote_all: true };
    // A JSON value has only strings as keys, so writing it as YAML cannot fail. JSON is YAML, too.
    serde_saphyr::to_string_with_options(value, options).unwrap_or_else(|_| value.to_string())
}

/// A hash of the text, for names and annotations that change with it.
#[must_use]
pub fn hash(text: &str) -> String {
    format!("{:016x}", xxh3_64(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use proptest::{collection, prelude::*};
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
                collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                collection::btree_map(text.clone(), inner, 0..6)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn reads_back_unchanged(value in value()) {
            let text = yaml(&value);
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
        insta::assert_snapshot!(yaml(&value), @r#"
        policies:
        - name: 'a/b'
          span:
          - "x == \"\L\""
          - 'ü'
        - - 1
          - 2.5
        - true
        receivers:
          otlp:
            protocols:
              grpc: {}
        "yes": null
        "#);
    }

    #[test]
    fn quotes_keys_that_readers_differ_on() {
        for key in ["yes", "0o17", "1:30", "~", "1e3"] {
            let text = yaml(&json!({key: 1}));
            assert!(text.starts_with(['"', '\'']), "{text}");
        }
    }
}
