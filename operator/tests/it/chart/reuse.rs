//! Values that are changed from one upgrade to the next, on a real API server.

use std::path::PathBuf;

use serde_json::{Value, json};
use tokio::process::Command;

use super::{
    named,
    render::{CHART, has_helm, objects, refusal},
};
use crate::{
    apiserver::{self, Namespace},
    children,
    role::chart::helm,
};

const STORAGE: &str = "stack.spec.jaeger.storage";

#[rstest::rstest]
#[case(&[], json!({"memory": {"maxTraces": 50_000}}))]
#[case(&["badger.size=1Gi"], json!({"badger": {"size": "1Gi"}}))]
#[case(&["memory=null", "badger.size=1Gi"], json!({"badger": {"size": "1Gi"}}))]
#[case(&["memory=false", "badger.size=1Gi"], json!({"badger": {"size": "1Gi"}}))]
#[case(&["badger=false"], json!({"memory": {"maxTraces": 50_000}}))]
#[case(&["badger=null"], json!({"memory": {"maxTraces": 50_000}}))]
#[case(&["memory.maxTraces=7"], json!({"memory": {"maxTraces": 7}}))]
fn chosen_storage_replaces_the_default(#[case] chosen: &[&str], #[case] expected: Value) {
    if !has_helm("chart::chosen_storage_replaces_the_default") {
        return;
    }
    let values: Vec<_> = chosen.iter().map(|it| format!("{STORAGE}.{it}")).collect();
    let objects = objects(&values.iter().map(String::as_str).collect::<Vec<_>>());
    let stack = named(&objects, "TracingStack", "tracing");
    assert_eq!(stack["spec"]["jaeger"]["storage"], expected);
}

#[test]
fn two_storages_are_refused_and_named() {
    if !has_helm("chart::two_storages_are_refused_and_named") {
        return;
    }
    let both = [
        format!("{STORAGE}.badger.size=1Gi"),
        format!("{STORAGE}.memory.maxTraces=7"),
    ];
    let refusal = refusal(&both.each_ref().map(String::as_str));
    assert!(
        refusal.contains("stack.spec.jaeger.storage names badger and memory"),
        "{refusal}"
    );
}

#[test]
fn existing_jaeger_is_the_only_field() {
    if !has_helm("chart::existing_jaeger_is_the_only_field") {
        return;
    }
    let objects = objects(&["stack.spec.jaeger.existing.otlp=jaeger.elsewhere.svc:4317"]);
    let stack = named(&objects, "TracingStack", "tracing");
    assert_eq!(
        stack["spec"]["jaeger"],
        json!({"existing": {"otlp": "jaeger.elsewhere.svc:4317"}})
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn reused_values_can_be_changed_back() {
    let test = "reused_values_can_be_changed_back";
    let Some(server) = apiserver::shared(test).await else {
        return;
    };
    if !has_helm(test) {
        return;
    }
    let namespace = server.namespace("spoor-reuse").await;
    let helm = Helm {
        namespace: &namespace,
        kubeconfig: server.admin_kubeconfig(),
    };
    let node = "operator.stacks.scheduling.nodeSelector";
    helm.run("install", &[]).await;
    // A null that removes no default is passed on by Helm in every later upgrade.
    for values in [
        vec![
            format!("{STORAGE}.memory=null"),
            format!("{STORAGE}.badger.size=1Gi"),
        ],
        vec![format!("{node}.disk=ssd"), "load.scenario=null".to_owned()],
        vec![
            format!("{node}=null"),
            "images.operator.tag=null".to_owned(),
        ],
        vec!["operator.stacks.resources.limits.memory=null".to_owned()],
    ] {
        helm.run("upgrade", &values).await;
        helm.run("upgrade", &[]).await;
        let storage = helm.storage().await;
        assert_eq!(storage, json!({"badger": {"size": "1Gi"}}), "{values:?}");
    }
    helm.run("upgrade", &[format!("{STORAGE}.badger=false")])
        .await;
    helm.run("upgrade", &[]).await;
    assert_eq!(
        helm.storage().await,
        json!({"memory": {"maxTraces": 50_000}})
    );
    helm.run("upgrade", &[format!("{STORAGE}.badger.size=2Gi")])
        .await;
    assert_eq!(helm.storage().await, json!({"badger": {"size": "2Gi"}}));
}

struct Helm<'a> {
    namespace: &'a Namespace<'a>,
    kubeconfig: PathBuf,
}

impl Helm<'_> {
    async fn run(&self, verb: &str, values: &[String]) {
        let mut command = Command::new(helm().unwrap());
        // No kubelet would run the hooks.
        command
            .args([verb, "spoor", CHART, "--no-hooks", "--namespace"])
            .arg(&self.namespace.name)
            .env("KUBECONFIG", &self.kubeconfig);
        if verb == "install" {
            command.arg("--skip-crds");
        } else {
            command.arg("--reuse-values");
        }
        for value in values {
            command.args(["--set", value]);
        }
        let output = command.output().await.unwrap();
        let problem = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{verb} {values:?}: {problem}");
    }

    async fn storage(&self) -> Value {
        children::stack(self.namespace).await["spec"]["jaeger"]["storage"].clone()
    }
}
