//! The stack, and changes to it.

use serde_json::{Value, json};

use super::{
    command::kubectl,
    lab::{self, Lab, ROLLOUT_TIMEOUT, STACK},
    objects,
};
use crate::apiserver::eventually;

/// Changes the stack as people do; null removes a field.
pub async fn patch(lab: &Lab, spec: &Value) {
    let patch = json!({ "spec": spec }).to_string();
    let kind = ["patch", "tracingstack", STACK, "--namespace", lab.namespace];
    kubectl(&[&kind[..], &["--type", "merge", "--patch", &patch]].concat()).await;
}

/// Gives the stack back the specification with which the tests installed it, and removes others.
pub async fn reset(lab: &Lab) {
    let here = ["--namespace", lab.namespace];
    let names = kubectl(&[&["get", "tracingstacks", "--output", "name"], &here[..]].concat()).await;
    for name in names
        .lines()
        .filter(|name| !name.ends_with(&format!("/{STACK}")))
    {
        kubectl(&[&["delete", name], &here[..]].concat()).await;
    }
    let spec = json!({
        "route": "Collector",
        "jaeger": {
            "basePath": "/jaeger",
            "storage": {"memory": {"maxTraces": lab::MAX_TRACES}},
            "resources": {"limits": {"memory": lab::JAEGER_MEMORY}},
        },
    });
    let replace = json!([{"op": "replace", "path": "/spec", "value": spec}]).to_string();
    let patch = [
        "patch",
        "tracingstack",
        STACK,
        "--type",
        "json",
        "--patch",
        &replace,
    ];
    kubectl(&[&patch, &here[..]].concat()).await;
}

/// The stack as it is.
pub async fn read(lab: &Lab) -> Value {
    let stack = objects::read(lab, "TracingStack", STACK).await;
    stack.expect("the chart's stack")
}

/// Waits until what is specified is there and nothing moves any more.
pub async fn settled(lab: &Lab) -> Value {
    eventually(
        "the stack available and settled",
        ROLLOUT_TIMEOUT,
        || async {
            let Some(stack) = objects::read(lab, "TracingStack", STACK).await else {
                return Err("no stack".to_owned());
            };
            let is = |condition, status| objects::is(&stack, condition, status);
            let is_sound = is("Degraded", "False") || has_lost_spans(&stack);
            if is("Available", "True") && is("Progressing", "False") && is_sound {
                Ok(stack)
            } else {
                Err(stack["status"]["conditions"].to_string())
            }
        },
    )
    .await
}

/// True if spans came too late to be gathered, as some tests send them on purpose: the stack says
/// so for ten minutes, and is sound otherwise.
fn has_lost_spans(stack: &Value) -> bool {
    let conditions = stack["status"]["conditions"].as_array();
    conditions.is_some_and(|all| all.iter().any(|it| it["reason"] == "SpansLost"))
}

/// Waits until no tail rule is in force.
pub async fn without_tail_rules(lab: &Lab) {
    eventually("no tail rules in force", ROLLOUT_TIMEOUT, || async {
        let tail = &read(lab).await["status"]["tail"];
        match tail["policies"].as_u64() {
            None | Some(0) => Ok(()),
            Some(_) => Err(tail.to_string()),
        }
    })
    .await;
}
