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
        &schema::SAMPLING_POLICY,
        &sampling_policy::rules(),
        sampling_policy::columns(),
    )
}

/// The definition of [`TracingStack`].
#[must_use]
pub fn tracing_stack() -> Value {
    definition(
        [TracingStack::KIND, "tracingstacks", "ts"],
        &schema::TRACING_STACK,
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
    for column in &mut columns {
        let path = column["jsonPath"].as_str().unwrap_or_default();
        let field = rule::part(&mut schema, path);
        for key in ["type", "description"] {
            if let Some(of_field) = field.as_ref().and_then(|field| field.get(key)) {
                column[key] = of_field.clone();
            }
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
                // Writing the status then requires a permission of its own, and does not increase
                // `metadata.generation`.
                "subresources": {"status": {}},
                "additionalPrinterColumns": columns,
            }],
        },
    })
}

/// A column of `kubectl get`. A wide one is only shown with `-o wide`. A field's column gets the
/// field's type and description.
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
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;

    use super::*;
    use crate::KeepRule;

    /// A field missing from one of these lists could be set beside another one, but not alone.
    #[test]
    fn one_of_rules_name_every_field() {
        use crate::problem::{RULE_NONE, RULE_SEVERAL, STORAGE_NONE, STORAGE_SEVERAL};
        let condition = (&*schema::SAMPLING_POLICY, "spec.tail.keep[]");
        let storage = (&*schema::TRACING_STACK, "spec.jaeger.storage");
        let storages = tracing_stack::STORAGES;
        for ((schema, at), fields, problems) in [
            (
                condition,
                &KeepRule::CONDITIONS[..],
                [RULE_NONE, RULE_SEVERAL],
            ),
            (storage, &storages[..], [STORAGE_NONE, STORAGE_SEVERAL]),
        ] {
            let mut schema = schema.clone();
            let properties = rule::part(&mut schema, at).unwrap()["properties"].take();
            let names = properties.as_object().unwrap().keys();
            let expected: BTreeSet<&str> = fields.iter().copied().collect();
            let found: BTreeSet<&str> = names
                .map(String::as_str)
                .filter(|it| *it != "name")
                .collect();
            assert_eq!(found, expected, "{at}");
            for problem in problems {
                let quoted = |field| problem.contains(&format!("\"{field}\""));
                assert!(expected.iter().all(quoted), "{at}: {problem}");
            }
        }
    }

    /// A rule whose path is not in the schema would have no effect.
    #[test]
    fn every_rule_has_a_path_in_the_schema() {
        for (schema, rules) in [
            (&*schema::SAMPLING_POLICY, sampling_policy::rules()),
            (&*schema::TRACING_STACK, tracing_stack::rules()),
        ] {
            let mut schema = structural::structural(schema.clone());
            for rule in rules {
                assert!(rule::part(&mut schema, &rule.at).is_some(), "{}", rule.at);
            }
        }
    }
}
