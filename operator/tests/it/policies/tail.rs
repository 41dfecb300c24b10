//! Tail rules, with this test in place of the role `stacks`.

use jiff::Timestamp;
use kube::{
    Api,
    api::{DynamicObject, Patch, PatchParams},
};
use serde_json::{Value, json};
use spoor_operator::kubernetes::resources::tracing_stacks;

use super::reason;
use crate::{
    apiserver::{self, Namespace},
    role::{
        Policies,
        sampling_policy::{SamplingPolicy, condition},
    },
};

#[tokio::test(flavor = "multi_thread")]
async fn tail_rules_are_programmed_by_a_stack() {
    let test = "tail_rules_are_programmed_by_a_stack";
    let Some(server) = apiserver::shared(test).await else {
        return;
    };
    let namespace = server.namespace("spoor-tail").await;
    let role = Policies::start(&namespace).await;
    let spec = json!({
        "targets": [{"service": "a"}],
        "tail": {"keep": [{"name": "errors", "error": {}}], "otherwise": "10%"},
    });
    let policy = SamplingPolicy::apply_spec(&namespace, "rules", spec).await;
    let programmed = |expected: &'static str| {
        let policy = policy.clone();
        async move {
            policy
                .wait_for(expected, |status| reason(status, "Programmed") == expected)
                .await
        }
    };
    programmed("NoTracingStack").await;
    let stack = Stack(&namespace);
    stack.apply("Direct", "OpenTelemetry").await;
    programmed("RouteIsDirect").await;
    stack.apply("Collector", "OpenTelemetry").await;
    stack.report("Collector", "0").await;
    programmed("RollingOut").await;
    let key = spoor_policy::Namespace::new(&namespace.name).unwrap();
    stack
        .report("Collector", &digest(&policy, &key).await)
        .await;
    let status = programmed("Programmed").await;
    assert_eq!(condition(&status, "Programmed")["status"], "True");
    role.stop().await;
}

/// The digest of this policy's rules, if it is the only one.
async fn digest(policy: &SamplingPolicy, namespace: &spoor_policy::Namespace) -> String {
    let object = policy.get().await.unwrap();
    let metadata = spoor_api::Metadata {
        namespace: Some(namespace.to_string()),
        ..spoor_api::Metadata::named("rules")
    };
    let spec = serde_json::from_value(object["spec"].clone()).unwrap();
    let policy = spoor_api::SamplingPolicy::new(metadata, spec);
    let policy = policy.validate(Timestamp::UNIX_EPOCH).unwrap();
    let resolution = spoor_policy::resolve(&[policy], Timestamp::now());
    resolution.tail.digest(namespace).to_string()
}

/// A stack whose status this test writes.
pub(super) struct Stack<'a>(pub(super) &'a Namespace<'a>);

impl Stack<'_> {
    pub(super) async fn apply(&self, route: &str, engine: &str) {
        let object = json!({
            "apiVersion": "spoor.dev/v1alpha1",
            "kind": "TracingStack",
            "metadata": {"name": "tracing"},
            "spec": {"route": route, "sampler": {"engine": engine}},
        });
        self.0.apply(object).await.unwrap();
    }

    pub(super) async fn report(&self, route: &str, digest: &str) {
        let tail = json!({"digest": digest, "policies": 1});
        self.patch_status(json!({"route": route, "tail": tail}))
            .await;
    }

    /// Reports that only Spoor's samplers decide.
    pub(super) async fn report_no_tail(&self, route: &str) {
        self.patch_status(json!({"route": route, "tail": null}))
            .await;
    }

    pub(super) async fn report_rings(&self, generation: u64, members: &[u32]) {
        self.patch_status(json!({"sampler": {
            "engine": "Spoor",
            "replicas": 1,
            "readyReplicas": 1,
            "rings": {"generation": generation, "members": members},
        }}))
        .await;
    }

    async fn patch_status(&self, status: Value) {
        let client = self.0.client.clone();
        let api: Api<DynamicObject> = Api::namespaced_with(client, &self.0.name, &tracing_stacks());
        let parameters = PatchParams::default();
        let patch = Patch::Merge(json!({"status": status}));
        api.patch_status("tracing", &parameters, &patch)
            .await
            .unwrap();
    }
}
