//! The route of a stack, and the tail rules on it.

use std::time::Duration;

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Service};
use serde_json::{Value, json};

use super::{Stacks, has_reason, is_settled, until, waits_for_former_engine};
use crate::apiserver::{self, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn route_switches_once_the_new_one_is_ready() {
    let test = "route_switches_once_the_new_one_is_ready";
    let Some(server) = apiserver::shared(test).await else {
        return;
    };
    let namespace = server.namespace("spoor-route").await;
    let role = Stacks::start(&namespace).await;
    role.apply("tracing", json!({"route": "Direct"})).await;
    role.wait_until_route_is("jaeger").await;
    until("Jaeger", async || {
        role.exists::<Deployment>("tracing-jaeger").await
    })
    .await;
    role.run_pods().await;
    let status = role.wait_for_status("tracing", is_settled).await;
    assert_eq!(status["route"], "Direct");
    assert_eq!(status["tail"], Value::Null);

    role.apply("tracing", json!({"route": "Collector"})).await;
    until("the Collector", async || {
        role.exists::<Deployment>("tracing-decide").await
    })
    .await;
    role.wait_for_status("tracing", has_reason("WaitingForRoute"))
        .await;
    role.wait_until_route_is("jaeger").await;
    role.run_pods().await;
    role.wait_until_route_is("collector-gather").await;
    let status = role
        .wait_for_status("tracing", has_reason("MovingTraffic"))
        .await;
    assert_eq!(status["route"], "Direct", "traffic is still on its way");
    assert_eq!(status["tail"]["policies"], 0);
    let address = async || {
        let services = namespace.api::<Service>();
        services.get("tracing-decide").await.unwrap().metadata.uid
    };
    let before = address().await;

    // Back at once: the Service selects Jaeger, and the Collector forwards the spans it holds.
    role.apply("tracing", json!({"route": "Direct"})).await;
    role.wait_until_route_is("jaeger").await;
    let status = role
        .wait_for_status("tracing", has_reason("MovingTraffic"))
        .await;
    assert_eq!(status["route"], "Collector");
    assert!(role.exists::<Deployment>("tracing-gather").await);
    assert!(role.exists::<Deployment>("tracing-decide").await);
    let deadline = Duration::from_secs(60);
    eventually(
        "the Collector is deleted once it holds nothing",
        deadline,
        async || {
            let stack = role.stacks().get("tracing").await.unwrap();
            let is_gone = !role.exists::<Deployment>("tracing-gather").await;
            let has_moved = stack.data["status"]["route"] == "Direct";
            match is_gone && has_moved && is_settled(&stack.data["status"]) {
                true => Ok(()),
                false => Err(format!("{:#}", stack.data["status"])),
            }
        },
    )
    .await;
    assert_eq!(
        address().await,
        before,
        "pods resolve its address once and keep it"
    );
    role.stop().await;
}

/// An upgrade of the operator does this to a stack that was created before there were samplers.
#[tokio::test(flavor = "multi_thread")]
async fn existing_stack_moves_to_the_sampler() {
    let test = "existing_stack_moves_to_the_sampler";
    let Some(server) = apiserver::shared(test).await else {
        return;
    };
    let namespace = server.namespace("spoor-engine").await;
    let role = Stacks::start(&namespace).await;
    role.apply("tracing", json!({})).await;
    until("the Collector", async || {
        role.exists::<Deployment>("tracing-decide").await
    })
    .await;
    role.run_pods().await;
    role.wait_for_status("tracing", is_settled).await;

    role.apply("tracing", json!({"sampler": {"engine": "Spoor"}}))
        .await;
    role.wait_until_sampler_exists().await;
    role.wait_for_status("tracing", has_reason("WaitingForRoute"))
        .await;
    role.wait_until_route_is("collector-gather").await;
    role.run_pods().await;
    role.wait_until_route_is("collector").await;
    let status = role
        .wait_for_status("tracing", has_reason("MovingTraffic"))
        .await;
    assert_eq!(status["route"], "Collector");
    assert_eq!(status["sampler"]["readyReplicas"], 1);
    assert_eq!(status["tail"]["policies"], 0, "the former tiers stay");
    for former in ["tracing-gather", "tracing-decide"] {
        assert!(role.exists::<Deployment>(former).await, "{former}");
        assert!(role.exists::<Service>(former).await, "{former}");
    }
    role.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn status_has_tail_rules_once_in_force() {
    let test = "status_has_tail_rules_once_in_force";
    let Some(server) = apiserver::shared(test).await else {
        return;
    };
    let namespace = server.namespace("spoor-tail").await;
    let role = Stacks::start(&namespace).await;
    role.apply("tracing", json!({})).await;
    until("the Collector", async || {
        role.exists::<Deployment>("tracing-decide").await
    })
    .await;
    role.run_pods().await;
    let status = role.wait_for_status("tracing", is_settled).await;
    let before = status["tail"]["digest"].clone();
    apply_rules(&role).await;
    let stack = role.stacks().get("tracing").await.unwrap();
    assert_eq!(
        stack.data["status"]["tail"]["digest"], before,
        "no pod has them yet"
    );
    role.run_pods().await;
    let status = role
        .wait_for_status("tracing", |status| status["tail"]["policies"] == 1)
        .await;
    assert_ne!(status["tail"]["digest"], before);

    change_engine_with_rules(&role).await;
    role.stop().await;
}

/// Changes the engine of a stack whose deciding tier has rules. Traffic moves only once the tier
/// has none.
async fn change_engine_with_rules(role: &Stacks<'_>) {
    role.apply("tracing", json!({"sampler": {"engine": "Spoor"}}))
        .await;
    role.wait_until_sampler_exists().await;
    role.run_pods().await;
    let status = role
        .wait_for_status("tracing", waits_for_former_engine)
        .await;
    assert_eq!(status["tail"]["policies"], 1);
    wait_for_decide_policies(role, "0").await;
    role.wait_until_route_is("collector-gather").await;
    role.run_pods().await;
    role.wait_until_route_is("collector").await;
    let has_no_rules = |status: &Value| status["tail"]["policies"] == 0;
    role.wait_for_status("tracing", has_no_rules).await;
}

/// Applies tail rules, and waits until the deciding tier has them.
async fn apply_rules(role: &Stacks<'_>) {
    let policy = json!({
        "apiVersion": "spoor.dev/v1alpha1",
        "kind": "SamplingPolicy",
        "metadata": {"name": "errors"},
        "spec": {
            "targets": [{"service": "a"}],
            "tail": {"keep": [{"name": "errors", "error": {}}], "otherwise": "10%"},
        },
    });
    role.namespace.apply(policy).await.unwrap();
    wait_for_decide_policies(role, "1").await;
}

/// Waits until the template of the deciding pods has rules of this number of policies.
async fn wait_for_decide_policies(role: &Stacks<'_>, expected: &str) {
    let deployments = role.namespace.api::<Deployment>();
    let deadline = Duration::from_secs(60);
    eventually("the deciding tier's rules", deadline, async || {
        let decide = deployments.get("tracing-decide").await.unwrap();
        let annotations = decide.spec.unwrap().template.metadata.unwrap().annotations;
        match annotations
            .unwrap_or_default()
            .get("spoor.dev/tail-policies")
        {
            Some(count) if count == expected => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}
