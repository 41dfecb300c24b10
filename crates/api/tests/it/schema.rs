//! The schema in a cluster must agree with validation.

use std::collections::BTreeMap;

use serde_json::Value;
use spoor_api::schema;
use spoor_policy::{
    AttributeKey, Namespace, OperationName, Policy, PolicyName, RuleCondition, RuleName,
    ServiceName, TailPolicy, TracesPerSecond,
};

/// Every upper limit in a schema, by the field and the kind of limit.
fn limits(schema: &Value, at: &str) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for limit in ["maxLength", "maxItems", "maximum"] {
        if let Some(most) = schema[limit].as_u64() {
            found.insert(format!("{at} {limit}"), usize::try_from(most).unwrap());
        }
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        found.extend(limits(property, &format!("{at}.{name}")));
    }
    if let Some(items) = schema.get("items") {
        found.extend(limits(items, &format!("{at}[]")));
    }
    found
}

#[test]
fn limits_are_those_of_validation() {
    let schema = &schema::SAMPLING_POLICY["properties"];
    let mut found = limits(&schema["metadata"], "metadata");
    found.extend(limits(&schema["spec"], "spec"));
    let expected = [
        ("metadata.name maxLength", PolicyName::MAX_BYTES),
        ("metadata.namespace maxLength", Namespace::MAX_BYTES),
        ("spec.expiresAt maxLength", 40),
        ("spec.head.probability maxLength", 16),
        (
            "spec.head.rateLimit.tracesPerSecond maximum",
            TracesPerSecond::MAX as usize,
        ),
        ("spec.tail.keep maxItems", TailPolicy::MAX_RULES),
        (
            "spec.tail.keep[].attribute.key maxLength",
            AttributeKey::MAX_BYTES,
        ),
        (
            "spec.tail.keep[].attribute.values maxItems",
            RuleCondition::MAX_VALUES,
        ),
        (
            "spec.tail.keep[].attribute.values[] maxLength",
            RuleCondition::MAX_VALUE_BYTES,
        ),
        ("spec.tail.keep[].name maxLength", RuleName::MAX_BYTES),
        ("spec.tail.keep[].slowerThan maxLength", 32),
        ("spec.tail.otherwise maxLength", 16),
        ("spec.targets maxItems", Policy::MAX_TARGETS),
        ("spec.targets[].operations maxItems", Policy::MAX_OPERATIONS),
        (
            "spec.targets[].operations[] maxLength",
            OperationName::MAX_BYTES,
        ),
        ("spec.targets[].service maxLength", ServiceName::MAX_BYTES),
    ];
    let expected = expected.map(|(limit, most)| (limit.to_owned(), most));
    assert_eq!(found, BTreeMap::from(expected));
}

/// A structural schema has no references, no choices of types and no null. `kubectl explain` shows
/// every description.
fn check(schema: &Value, at: &str) {
    let Value::Object(schema) = schema else {
        panic!("{at}: {schema}")
    };
    for word in ["$ref", "anyOf", "oneOf", "allOf", "definitions"] {
        assert!(!schema.contains_key(word), "{at}: {word}");
    }
    assert!(
        schema.get("type").is_some_and(Value::is_string) || schema.contains_key("enum"),
        "{at}"
    );
    for (name, property) in schema
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        let at = format!("{at}/{name}");
        assert!(
            property.get("description").is_some(),
            "{at} has no description"
        );
        check(property, &at);
    }
    if let Some(items) = schema.get("items") {
        check(items, &format!("{at}[]"));
    }
}

#[test]
fn schema_is_structural_and_described() {
    check(&schema::SAMPLING_POLICY, "");
}
