//! The custom resource definitions: the resources' schemas, with validation rules and messages for
//! the API server.

mod rule;
mod sampling_policy;
mod structural;
mod tracing_stack;

use serde_json::{Value, json};

use crate::{GROUP, SamplingPolicy, TracingStack, VERSION, schema};
use rule::Rule;

/// All definitions.
#[must_use]
pub fn all() -> Vec<Value> {
    vec![sampling_policy(), tracing_stack()]
}

/// The definition of [`SamplingPolicy`].
#[must_use]
pub fn sampling_policy() -> Value {
    definition(
        [SamplingPolicy::KIND, "samplingpolicies", "spol"],
        schema::sampling_policy(),
        &sampling_policy::rules(),
        sampling_policy::columns(),
    )
}

/// The definition of [`TracingStack`].
#[must_use]
pub fn tracing_stack() -> Value {
    definition(
        [TracingStack::KIND, "tracingstacks", "ts"],
        schema::tracing_stack(),
        &tracing_stack::rules(),
        tracing_stack::columns(),
    )
}

fn definition(
    [kind, plural, short]: [&str; 3],
    schema: &Value,
    rules: &[Rule],
    mut columns: Vec<Value>,
) -> Value {
    let mut schema = structural::structural(schema.clone());
    for rule in rules {
        rule.apply(&mut schema);
    }
    // A column of a field has the field's description.
    for column in &mut columns {
        let path = column["jsonPath"].as_str().unwrap_or_default();
        let field = rule::place(&mut schema, path);
        if let Some(description) = field.and_then(|field| field.get("description")) {
            column["description"] = description.clone();
        }
    }
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{GROUP}")},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": kind,
                "listKind": format!("{kind}List"),
                "plural": plural,
                "singular": kind.to_lowercase(),
                "shortNames": [short],
                "categories": ["spoor", "tracing"],
            },
            "scope": "Namespaced",
            "versions": [{
                "name": VERSION,
                "served": true,
                "storage": true,
                "schema": {"openAPIV3Schema": schema},
                // Writing the status then takes a permission of its own and keeps
                // `metadata.generation`.
                "subresources": {"status": {}},
                "additionalPrinterColumns": columns,
            }],
        },
    })
}

/// A column of `kubectl get`. A wide one is only shown with `-o wide`.
fn column(name: &str, path: &str, wide: bool) -> Value {
    json!({"name": name, "type": "string", "jsonPath": path, "priority": i32::from(wide)})
}

/// The column of a condition.
fn condition(kind: &str, wide: bool) -> Value {
    let path = format!(".status.conditions[?(@.type==\"{kind}\")].status");
    described(column(kind, &path, wide), "Status", kind)
}

/// The column of a condition's message.
fn message(kind: &str) -> Value {
    let path = format!(".status.conditions[?(@.type==\"{kind}\")].message");
    described(column("Message", &path, true), "Message", kind)
}

fn described(mut column: Value, what: &str, kind: &str) -> Value {
    column["description"] = format!("{what} of the condition {kind}.").into();
    column
}

/// The column of the age, which kubectl does not add if a definition has columns.
fn age() -> Value {
    json!({"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"})
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A rule whose place is not in the schema would have no effect.
    #[test]
    fn every_rule_has_a_place() {
        for (schema, rules) in [
            (schema::sampling_policy(), sampling_policy::rules()),
            (schema::tracing_stack(), tracing_stack::rules()),
        ] {
            let mut schema = structural::structural(schema.clone());
            for rule in rules {
                assert!(rule::place(&mut schema, &rule.at).is_some(), "{}", rule.at);
            }
        }
    }
}
