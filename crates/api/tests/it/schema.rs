//! The schema in a cluster must agree with validation.

use rstest::rstest;
use serde_json::Value;
use spoor_api::schema;
use spoor_policy::{
    AttributeKey, Namespace, OperationName, Policy, PolicyName, RuleCondition, RuleName,
    ServiceName, TailPolicy, TracesPerSecond,
};

const SPEC: &str = "/properties/spec/properties";
const TARGETS: &str = "/properties/spec/properties/targets";
const OPERATIONS: &str = "/properties/spec/properties/targets/items/properties/operations";
const RULES: &str = "/properties/spec/properties/tail/properties/keep";
const ATTRIBUTE: &str =
    "/properties/spec/properties/tail/properties/keep/items/properties/attribute/properties";

#[rstest]
#[case("/properties/metadata/properties/name/maxLength", PolicyName::MAX_LEN)]
#[case(
    "/properties/metadata/properties/namespace/maxLength",
    Namespace::MAX_LEN
)]
#[case(&format!("{TARGETS}/maxItems"), Policy::MAX_TARGETS)]
#[case(&format!("{TARGETS}/items/properties/service/maxLength"), ServiceName::MAX_LEN)]
#[case(&format!("{OPERATIONS}/maxItems"), Policy::MAX_OPERATIONS)]
#[case(&format!("{OPERATIONS}/items/maxLength"), OperationName::MAX_LEN)]
#[case(
    &format!("{SPEC}/head/properties/rateLimit/properties/tracesPerSecond/maximum"),
    TracesPerSecond::MAX as usize
)]
#[case(&format!("{RULES}/maxItems"), TailPolicy::MAX_RULES)]
#[case(&format!("{RULES}/items/properties/name/maxLength"), RuleName::MAX_LEN)]
#[case(&format!("{ATTRIBUTE}/key/maxLength"), AttributeKey::MAX_LEN)]
#[case(&format!("{ATTRIBUTE}/values/maxItems"), RuleCondition::MAX_VALUES)]
#[case(&format!("{ATTRIBUTE}/values/items/maxLength"), RuleCondition::MAX_VALUE_LEN)]
fn bounds(#[case] pointer: &str, #[case] bound: usize) {
    let maximum = schema::sampling_policy()
        .pointer(pointer)
        .and_then(Value::as_u64);
    assert_eq!(maximum, Some(bound as u64), "{pointer}");
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
    check(schema::sampling_policy(), "");
}
