//! The stack, and changes to it.

use serde_json::{Value, json};

use super::{
    command::kubectl,
    lab::{self, Engine, Lab, ROLLOUT_TIMEOUT, STACK},
    objects,
};
use crate::apiserver::eventually;

/// Changes the stack with `kubectl patch`; null removes a field.
pub async fn patch(lab: &Lab, spec: &Value) {
    let patch = json!({ "spec": spec }).to_string();
    let kind = ["patch", "tracingstack", STACK, "--namespace", lab.namespace];
    kubectl(&[&kind[..], &["--type", "merge", "--patch", &patch]].concat()).await;
}

/// The annotation with the samplers that scaling does not wait for.
const FORGET: &str = "spoor.dev/forget-samplers";

/// Restores the spec with which the tests installed the stack, and deletes other stacks. Samplers
/// that a test added are given up at once, instead of after ten minutes.
pub async fn reset(lab: &Lab) {
    let here = ["--namespace", lab.namespace];
    let names = kubectl(&[&["get", "tracingstacks", "--output", "name"], &here[..]].concat()).await;
    for name in names
        .lines()
        .filter(|name| !name.ends_with(&format!("/{STACK}")))
    {
        kubectl(&[&["delete", name], &here[..]].concat()).await;
    }
    let spec = installed_spec(lab.engine);
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
    if lab.engine == Engine::Spoor {
        annotate(lab, &format!("{FORGET}=1,2")).await;
    }
}

/// Deletes the annotation that [`reset`] sets, so that scaling waits for each sampler.
pub async fn delete_forget_annotation(lab: &Lab) {
    annotate(lab, &format!("{FORGET}-")).await;
}

async fn annotate(lab: &Lab, annotation: &str) {
    let annotate = ["annotate", "--overwrite", "tracingstack", STACK, annotation];
    kubectl(&[&annotate[..], &["--namespace", lab.namespace]].concat()).await;
}

/// The spec of the stack as the chart's values set it.
fn installed_spec(engine: Engine) -> Value {
    let mut spec = json!({
        "route": "Collector",
        "jaeger": {
            "basePath": "/jaeger",
            "storage": {"memory": {"maxTraces": lab::MAX_TRACES}},
            "resources": {"limits": {"memory": lab::JAEGER_MEMORY}},
        },
    });
    match engine {
        Engine::OpenTelemetry => spec["sampler"] = json!({"engine": "OpenTelemetry"}),
        Engine::Spoor => {
            for part in ["jaeger", "collector", "sampler"] {
                spec[part]["resources"]["requests"] = json!({"cpu": lab::SMALL_CPU_REQUEST});
            }
        }
    }
    spec
}

/// Reads the stack.
pub async fn read(lab: &Lab) -> Value {
    let stack = objects::read(lab, "TracingStack", STACK).await;
    stack.expect("the chart's stack")
}

/// Waits until the stack is available and not progressing.
pub async fn wait_until_settled(lab: &Lab) -> Value {
    eventually(
        "the stack available and settled",
        ROLLOUT_TIMEOUT,
        || async {
            let Some(stack) = objects::read(lab, "TracingStack", STACK).await else {
                return Err("no stack".to_owned());
            };
            let has = |condition, status| objects::has(&stack, condition, status);
            let is_healthy = has("Degraded", "False") || has_lost_spans(&stack);
            if has("Available", "True") && has("Progressing", "False") && is_healthy {
                Ok(stack)
            } else {
                Err(stack["status"]["conditions"].to_string())
            }
        },
    )
    .await
}

/// Returns true if spans were lost because they arrived just as `gatherWait` ended for their trace,
/// as in some tests. The stack reports this for ten minutes, and is otherwise healthy.
fn has_lost_spans(stack: &Value) -> bool {
    let conditions = stack["status"]["conditions"].as_array();
    conditions.is_some_and(|all| all.iter().any(|it| it["reason"] == "SpansLost"))
}

/// Waits until no tail rule is in force.
pub async fn wait_until_no_tail_rules(lab: &Lab) {
    eventually("no tail rules in force", ROLLOUT_TIMEOUT, || async {
        let tail = &read(lab).await["status"]["tail"];
        match tail["policies"].as_u64() {
            None | Some(0) => Ok(()),
            Some(_) => Err(tail.to_string()),
        }
    })
    .await;
}
