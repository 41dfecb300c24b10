//! Conditions in the OpenTelemetry Transformation Language, about one span and its resource.

use spoor_policy::AttributeKey;

/// Quotes a string as a literal. Nothing in the string can end the literal.
///
/// The Collector interprets it three times: as YAML, for `${…}` to expand, and as OTTL. The dollar
/// sign is escaped here, so that the second pass finds none.
pub(super) fn text(text: &str) -> String {
    let mut literal = String::with_capacity(text.len() + 2);
    literal.push('"');
    for char in text.chars() {
        match char {
            '"' => literal.push_str("\\\""),
            '\\' => literal.push_str("\\\\"),
            '$' => literal.push_str("\\x24"),
            control if control.is_control() => {
                literal.push_str(&format!("\\u{:04x}", u32::from(control)));
            }
            other => literal.push(other),
        }
    }
    literal.push('"');
    literal
}

/// Joins conditions with `and`. Without conditions, returns `true`.
pub(super) fn all_of(conditions: impl IntoIterator<Item = String>) -> String {
    joined(conditions, " and ").unwrap_or_else(|| "true".to_owned())
}

/// Joins conditions with `or`, in parentheses. Without conditions, returns `false`.
pub(super) fn any_of(conditions: impl IntoIterator<Item = String>) -> String {
    let joined = joined(conditions, " or ");
    joined.map_or_else(|| "false".to_owned(), |any| format!("({any})"))
}

fn joined(conditions: impl IntoIterator<Item = String>, operator: &str) -> Option<String> {
    let conditions: Vec<String> = conditions.into_iter().collect();
    (!conditions.is_empty()).then(|| conditions.join(operator))
}

/// The conditions under which a span or its resource has the attribute with this value. The value
/// is given as text: `200` matches the text and the number.
pub(super) fn equals(key: &AttributeKey, value: &str) -> Vec<String> {
    let key = text(key.as_str());
    let places = [
        format!("resource.attributes[{key}]"),
        format!("span.attributes[{key}]"),
    ];
    let literals = literals(value);
    let conditions = places.iter().flat_map(|place| {
        let literals = literals.iter();
        literals.map(move |literal| format!("{place} == {literal}"))
    });
    conditions.collect()
}

/// The literals that a text may stand for.
fn literals(value: &str) -> Vec<String> {
    let number = || {
        if let Ok(int) = value.parse::<i64>() {
            return Some(int.to_string());
        }
        let double: f64 = value.parse().ok()?;
        // With a decimal point, else OTTL reads it as an integer.
        let digits = format!("{double}");
        let point = if digits.contains('.') { "" } else { ".0" };
        double.is_finite().then(|| digits + point)
    };
    let boolean = value.parse::<bool>().ok().map(|value| value.to_string());
    let literals = [Some(text(value)), number(), boolean];
    literals.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    /// Reads a literal as the Collector does: Go's rules for quoted strings.
    fn read(literal: &str) -> Option<String> {
        let inner = literal.strip_prefix('"')?.strip_suffix('"')?;
        let mut text = String::new();
        let mut chars = inner.chars();
        while let Some(char) = chars.next() {
            let digits = match char {
                '"' | '\n' => return None,
                '\\' => match chars.next()? {
                    'x' => 2,
                    'u' => 4,
                    same @ ('"' | '\\') => {
                        text.push(same);
                        continue;
                    }
                    _ => return None,
                },
                other => {
                    text.push(other);
                    continue;
                }
            };
            let code: String = chars.by_ref().take(digits).collect();
            text.push(char::from_u32(u32::from_str_radix(&code, 16).ok()?)?);
        }
        Some(text)
    }

    proptest! {
        #[test]
        fn nothing_escapes_a_literal(
            value in prop_oneof![any::<String>(), "[\"\\\\${}a()\n ]{0,24}"]
        ) {
            let literal = text(&value);
            prop_assert_eq!(read(&literal), Some(value));
            prop_assert!(!literal.contains('$'), "nothing to expand");
        }
    }

    #[rstest]
    #[case("gold", &["\"gold\""])]
    #[case("200", &["\"200\"", "200"])]
    #[case("-3", &["\"-3\"", "-3"])]
    #[case("0.25", &["\"0.25\"", "0.25"])]
    #[case("1e3", &["\"1e3\"", "1000.0"])]
    #[case("true", &["\"true\"", "true"])]
    #[case("inf", &["\"inf\""])]
    fn value_matches_text_number_and_bool(#[case] value: &str, #[case] expected: &[&str]) {
        assert_eq!(literals(value), expected);
    }
}
