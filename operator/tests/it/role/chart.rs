//! The roles that the chart gives the operator, as Helm renders them.

use std::{path::PathBuf, process::Command};

use kube::Client;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::apiserver::Namespace;

/// The kinds of RBAC, and of the objects that its rules name.
const KINDS: [&str; 7] = [
    "ServiceAccount",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
    "Lease",
    "Secret",
];

/// The objects of the chart that hold the operator's permissions, for a release in this namespace
/// that serves these namespaces, or all if none is named; none without Helm.
pub fn rendered(namespace: &str, served: &[&str]) -> Option<Vec<Value>> {
    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/../helm/spoor");
    let served = json!(served).to_string();
    // A release name that contains "spoor" is also the prefix of the names of the objects.
    let output = Command::new(helm()?)
        .args(["template", namespace, chart, "--namespace", namespace])
        .args(["--set", "stack.enabled=false", "--set-json"])
        .arg(format!("operator.namespaces={served}"))
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "helm template: {stderr}");
    let text = String::from_utf8(output.stdout).unwrap();
    let documents = serde_yaml::Deserializer::from_str(&text);
    let objects = documents.map(|document| Value::deserialize(document).unwrap());
    let objects = objects.filter(|object| {
        let is_hook = !object["metadata"]["annotations"]["helm.sh/hook"].is_null();
        KINDS.iter().any(|kind| object["kind"] == *kind) && !is_hook
    });
    Some(objects.collect())
}

/// The name of a role's ServiceAccount in such a release.
pub fn account_name(namespace: &str, role: &str) -> String {
    format!("{namespace}-{role}")
}

/// A client with the ServiceAccount of this role, as the chart creates it for a release that serves
/// its own namespace only; without Helm, one with all permissions.
pub async fn account(namespace: &Namespace<'_>, role: &str) -> Client {
    account_serving(namespace, role, &[&namespace.name]).await
}

/// The client for a release that serves these namespaces, or all if none is given.
pub async fn account_serving(namespace: &Namespace<'_>, role: &str, served: &[&str]) -> Client {
    let name = account_name(&namespace.name, role);
    install(namespace, &name, served).await;
    namespace.client_as(&name).await
}

/// The name of a role's objects outside of the release's namespace.
pub fn outside_name(namespace: &str, role: &str) -> String {
    format!("{namespace}:{}", account_name(namespace, role))
}

async fn install(namespace: &Namespace<'_>, name: &str, served: &[&str]) {
    match rendered(&namespace.name, served) {
        Some(objects) => {
            for object in objects {
                namespace.apply(object).await.unwrap();
            }
        }
        None => {
            eprintln!("\nno helm: {name} has all permissions\n");
            namespace.service_account(name).await;
            let binding = everything(&namespace.name, name);
            namespace.apply(binding).await.unwrap();
        }
    }
}

fn everything(namespace: &str, account: &str) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": account},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
    })
}

/// The program in `HELM`, or `helm` in the folder of the API server or on the `PATH`.
pub fn helm() -> Option<PathBuf> {
    if let Some(helm) = std::env::var_os("HELM") {
        return Some(helm.into());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let assets = std::env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from);
    let mut folders = assets.into_iter().chain(std::env::split_paths(&path));
    folders.find_map(|folder| Some(folder.join("helm")).filter(|helm| helm.is_file()))
}
