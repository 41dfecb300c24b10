//! Compares a document with a schema, and reports all differences, whereas serde stops at the first
//! error.

use std::ops::RangeInclusive;

use rapidfuzz::distance::levenshtein;
use serde_json::{Map, Value};

use super::MAX_ERRORS;
use crate::{API_VERSION, FieldError, FieldPath, TracingStack, field::quoted};

/// The errors in `apiVersion` and `kind`. The schema applies only if there are none.
pub(super) fn kind(value: &Value, kind: &str) -> Vec<FieldError> {
    let root = FieldPath::root();
    let Value::Object(fields) = value else {
        let problem = format!(
            "must be a mapping with `apiVersion`, `kind`, `metadata` and `spec`, not {}",
            describe(value)
        );
        return vec![FieldError::new(root, problem)];
    };
    let mut errors = vec![];
    for (field, expected) in [("apiVersion", API_VERSION), ("kind", kind)] {
        let problem = match fields.get(field) {
            Some(Value::String(found)) if found == expected => continue,
            // A TracingStack is valid as well, but has an effect on a cluster only.
            Some(Value::String(found)) if found == TracingStack::KIND => {
                format!("must be {expected:?}; apply a {found} to a cluster with `kubectl apply`")
            }
            Some(found) => format!("must be {expected:?}, not {}", describe(found)),
            None => format!("is missing; add `{field}: {expected}`"),
        };
        errors.push(FieldError::new(root.field(field), problem));
    }
    errors
}

/// The differences between a value and a schema: unknown fields, missing fields, wrong types, and
/// numbers out of range, which serde may refuse without naming the field. Other limits are left to
/// validation, whose messages are more specific. Stops comparing after about [`MAX_ERRORS`] errors.
pub(crate) fn errors(value: &Value, schema: &Value, at: &FieldPath) -> Vec<FieldError> {
    let mut errors = vec![];
    compare(value, schema, at, &mut errors);
    errors
}

/// Removes fields that are null, which mean the same as absent ones, and all differences from the
/// schema, so that the rest can be validated: removes unknown fields, and puts examples in place of
/// missing fields and of values of another type.
pub(super) fn repaired(value: Value, schema: &Value) -> Value {
    match (schema.get("type").and_then(Value::as_str), value) {
        (Some("object"), Value::Object(fields)) => repaired_object(fields, schema),
        (Some("array"), Value::Array(items)) => {
            let of_items = schema.get("items").unwrap_or(&Value::Null);
            let items = items.into_iter().map(|item| repaired(item, of_items));
            items.collect()
        }
        (_, value) if errors(&value, schema, &FieldPath::root()).is_empty() => value,
        (Some("object"), _) => repaired_object(Map::new(), schema),
        (Some("array"), _) => Value::Array(vec![]),
        (Some("integer"), _) => Value::from(1),
        _ => {
            let example = schema.pointer("/examples/0").cloned();
            example.unwrap_or_else(|| Value::from("a"))
        }
    }
}

fn repaired_object(mut fields: Map<String, Value>, schema: &Value) -> Value {
    let known = schema.get("properties").and_then(Value::as_object);
    let others = schema
        .get("additionalProperties")
        .filter(|it| it.is_object());
    let required = schema.get("required").and_then(Value::as_array);
    fields.retain(|_, value| !value.is_null());
    for name in required.into_iter().flatten().filter_map(Value::as_str) {
        fields.entry(name).or_insert(Value::Null);
    }
    let fields = fields.into_iter().filter_map(|(name, value)| {
        let schema = known.and_then(|it| it.get(&name)).or(others)?;
        Some((name, repaired(value, schema)))
    });
    fields.collect()
}

/// Adds the differences between a value at `at` and a schema.
fn compare(value: &Value, schema: &Value, at: &FieldPath, errors: &mut Vec<FieldError>) {
    match (schema.get("type").and_then(Value::as_str), value) {
        (Some("object"), Value::Object(fields)) => object(fields, schema, at, errors),
        (Some("array"), Value::Array(items)) => {
            let Some(schema) = schema.get("items") else {
                return;
            };
            for (index, item) in items.iter().enumerate() {
                if errors.len() >= MAX_ERRORS {
                    return;
                }
                compare(item, schema, &at.index(index), errors);
            }
        }
        (Some("integer"), Value::Number(number)) => {
            if number.as_i64().is_none_or(|it| !range(schema).contains(&it)) {
                let problem = format!("must be {}, not {number}", expected(schema));
                errors.push(FieldError::new(at.clone(), problem));
            }
        }
        (Some("string"), Value::String(_))
        | (Some("number"), Value::Number(_))
        | (Some("boolean"), Value::Bool(_))
        // Without a type in the schema, validation checks the value, as for quantities.
        | (None, _) => {}
        (Some(_), _) => {
            let problem = format!("must be {}, not {}", expected(schema), describe(value));
            errors.push(FieldError::new(at.clone(), problem));
        }
    }
}

fn object(
    fields: &Map<String, Value>,
    schema: &Value,
    at: &FieldPath,
    errors: &mut Vec<FieldError>,
) {
    let empty = Map::new();
    let known = schema
        .get("properties")
        .and_then(Value::as_object)
        .unwrap_or(&empty);
    let others = schema.get("additionalProperties");
    let required = schema
        .get("required")
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    for (field, value) in fields {
        // Aliases may repeat thousands of unknown fields, each of which is compared with all known
        // ones.
        if errors.len() >= MAX_ERRORS {
            return;
        }
        let is_required = required.iter().any(|name| name == field);
        match (known.get(field), others) {
            // Null means the same as an absent field, unless the field is required.
            (Some(_), _) if value.is_null() && !is_required => {}
            (Some(schema), _) | (None, Some(schema @ Value::Object(_))) => {
                compare(value, schema, &at.field(field), errors);
            }
            (None, Some(Value::Bool(false))) => {
                errors.push(FieldError::new(at.field(field), unknown(field, known)));
            }
            (None, _) => {}
        }
    }
    for field in required.iter().filter_map(Value::as_str) {
        if !fields.contains_key(field) {
            let example = known.get(field).map_or_else(String::new, expected);
            let problem = format!("is missing; it must be {example}");
            errors.push(FieldError::new(at.field(field), problem));
        }
    }
}

/// The range of an integer: the schema's own, or else that of its type.
fn range(schema: &Value) -> RangeInclusive<i64> {
    let (min, max) = match schema.get("format").and_then(Value::as_str) {
        Some("int32") => (i64::from(i32::MIN), i64::from(i32::MAX)),
        _ => (i64::MIN, i64::MAX),
    };
    let limit = |name: &str| schema.get(name).and_then(Value::as_i64);
    limit("minimum").unwrap_or(min)..=limit("maximum").unwrap_or(max)
}

/// A description of the expected value: `a string such as "1%"`.
fn expected(schema: &Value) -> String {
    let kind = match schema.get("type").and_then(Value::as_str) {
        Some("object") => "a mapping",
        Some("array") => "a list",
        Some("integer") => {
            let range = range(schema);
            return format!("a whole number from {} to {}", range.start(), range.end());
        }
        Some("string") => "a string",
        _ => "a value",
    };
    match schema.pointer("/examples/0") {
        Some(example) => format!("{kind} such as {example}"),
        None => kind.to_owned(),
    }
}

/// A description of a value: `the number 1`.
fn describe(value: &Value) -> String {
    match value {
        Value::Null => "empty".to_owned(),
        Value::Bool(flag) => format!("the boolean {flag}"),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => format!("the string {}", quoted(text)),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a mapping".to_owned(),
    }
}

fn unknown(field: &str, known: &Map<String, Value>) -> String {
    // Usually the field lacks indentation, and the field above it is empty.
    if let Some((parent, _)) = known.iter().find(|(_, schema)| has_field(schema, field)) {
        return format!("unknown field; it belongs in {parent:?}: indent it below `{parent}:`");
    }
    let close = known.keys().map(|name| (distance(field, name), name)).min();
    match close {
        // One typing error in a short name, and one more for every four letters.
        Some((steps, name)) if steps <= 1 + name.len() / 4 => {
            format!("unknown field; did you mean {name:?}?")
        }
        _ if known.is_empty() => "unknown field; no fields are allowed here".to_owned(),
        _ => {
            let names: Vec<&str> = known.keys().map(String::as_str).collect();
            format!("unknown field; known fields are {}", names.join(", "))
        }
    }
}

/// True if the values of a schema, or the items of its list, have a field of this name.
fn has_field(schema: &Value, field: &str) -> bool {
    let schema = schema.get("items").unwrap_or(schema);
    let fields = schema.get("properties");
    fields.is_some_and(|fields| fields.get(field).is_some())
}

/// The Levenshtein distance between two names, ignoring case.
fn distance(one: &str, other: &str) -> usize {
    // The document's field may be of any length, while names are short.
    let one: String = one.chars().take(64).collect();
    levenshtein::distance(one.to_lowercase().chars(), other.to_lowercase().chars())
}
