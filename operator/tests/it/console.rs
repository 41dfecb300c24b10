//! The client of `spoor console` and of the verbs with `--context`, on a real API server with the
//! rights of several users.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde_json::{Value, json};
use spoor_api::changes::{Action, Document};
use spoor_cluster::{ClusterClient, ClusterOptions};
use spoor_console::{Backend, BackendError};
use spoor_policy::{PolicyKey, PolicyName};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::{
    apiserver::{self, Namespace},
    role::{MAX_WAIT, sampling_policy::SamplingPolicy},
};

/// A client for this namespace, with the rights of a kubeconfig.
async fn client(namespace: &Namespace<'_>, kubeconfig: PathBuf) -> ClusterClient {
    let options = ClusterOptions {
        kubeconfig: Some(kubeconfig),
        namespace: Some(key(namespace, "a").namespace),
        all_namespaces: true,
        ..ClusterOptions::default()
    };
    ClusterClient::connect(options).await.unwrap()
}

/// A kubeconfig of an account that may only read, and only in this namespace.
async fn reader(namespace: &Namespace<'_>) -> PathBuf {
    namespace.service_account("reader").await;
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "reader"},
        "rules": [{
            "apiGroups": ["spoor.dev"],
            "resources": ["samplingpolicies", "tracingstacks"],
            "verbs": ["get", "list", "watch"],
        }],
    });
    namespace.apply(role).await.unwrap();
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "reader"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
        "subjects": [{"kind": "ServiceAccount", "name": "reader", "namespace": namespace.name}],
    });
    namespace.apply(binding).await.unwrap();
    let token = namespace.account_token("reader").await;
    let name = format!("{}-reader", namespace.name);
    namespace.server.kubeconfig(&name, &token)
}

fn key(namespace: &Namespace<'_>, name: &str) -> PolicyKey {
    PolicyKey {
        namespace: namespace.name.parse().unwrap(),
        name: PolicyName::new(name).unwrap(),
    }
}

/// A policy of this name and head, without a namespace.
fn document(name: &str, head: &str) -> Document {
    Document {
        source: "p.yaml".to_owned(),
        text: format!(
            "apiVersion: spoor.dev/v1alpha1\nkind: SamplingPolicy\nmetadata: {{name: {name}}}\n\
             spec: {{targets: [{{service: {name}}}], head: {{{head}}}}}\n"
        ),
    }
}

async fn spec(namespace: &Namespace<'_>, name: &str) -> Value {
    let policy = SamplingPolicy::named(namespace, name).get().await.unwrap();
    policy["spec"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn reader_sees_policies_and_changes_none() {
    let test = "reader_sees_policies_and_changes_none";
    let Some(server) = apiserver::shared(test).await else {
        return;
    };
    let namespace = server.namespace("console").await;
    SamplingPolicy::apply(&namespace, "a", "1%").await;
    let client = client(&namespace, reader(&namespace).await).await;

    let shown = client.source().namespace.as_ref();
    assert_eq!(shown.map(|it| it.as_str()), Some(&*namespace.name));
    let policies = client.policies().await.unwrap();
    assert_eq!(policies.len(), 1);
    assert_eq!(policies[0].metadata.name, "a");

    let change = document("a", "probability: 2%");
    let refusals = [
        client.apply(change.clone()).await.err(),
        client.delete(&key(&namespace, "a")).await.err(),
    ];
    for refusal in refusals {
        let Some(BackendError::Refuse(reason)) = refusal else {
            panic!("{refusal:?}");
        };
        let names_user = reason.contains("system:serviceaccount:");
        assert!(reason.contains("forbidden") && names_user, "{reason}");
    }
    let comparison = client.diff(change).await.unwrap();
    assert_eq!(comparison.differences.len(), 1);
    let warnings = &comparison.warnings[&key(&namespace, "a").to_string()];
    assert!(warnings[0].contains("forbidden"), "{warnings:?}");
    assert_eq!(spec(&namespace, "a").await["head"]["probability"], "1%");
}

#[tokio::test(flavor = "multi_thread")]
async fn policy_is_applied_compared_and_deleted() {
    let test = "policy_is_applied_compared_and_deleted";
    let Some(server) = apiserver::shared(test).await else {
        return;
    };
    let namespace = server.namespace("console").await;
    let client = client(&namespace, server.admin_kubeconfig()).await;
    assert_eq!(client.source().namespace, None);

    for (head, action) in [
        ("probability: 1%", Action::Created),
        ("probability: 1%", Action::Unchanged),
        ("probability: 2%", Action::Configured),
        ("rateLimit: {tracesPerSecond: 5}", Action::Configured),
    ] {
        let changes = client.apply(document("a", head)).await.unwrap();
        assert_eq!(changes[0].action, action, "{head}");
    }
    let expected = json!({"rateLimit": {"tracesPerSecond": 5}});
    assert_eq!(spec(&namespace, "a").await["head"], expected);

    let comparison = client.diff(document("a", "probability: 3%")).await.unwrap();
    let [difference] = comparison.differences.as_slice() else {
        panic!("{comparison:?}");
    };
    assert_eq!(difference.after.as_ref().unwrap().setting, "3%");
    assert_eq!(spec(&namespace, "a").await["head"], expected);

    client.delete(&key(&namespace, "a")).await.unwrap();
    let missing = client.policy(&key(&namespace, "a")).await;
    assert!(matches!(missing, Err(BackendError::Find(_))), "{missing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_applied_if_one_is_refused() {
    let test = "nothing_is_applied_if_one_is_refused";
    let Some(server) = apiserver::shared(test).await else {
        return;
    };
    let namespace = server.namespace("console").await;
    let client = client(&namespace, server.admin_kubeconfig()).await;
    // Valid here, and managed by someone else there.
    apply_as(&namespace, "argocd-controller").await;
    let documents = [
        document("b", "probability: 1%"),
        document("a", "probability: 2%"),
    ];
    let refused = client.apply_documents(&documents).await.err();
    let Some(BackendError::Conflict(message)) = refused else {
        panic!("{refused:?}");
    };
    assert!(message.contains("(argocd-controller)"), "{message}");
    let policies = client.list().await.unwrap().policies;
    let ours = policies
        .iter()
        .filter(|it| it.metadata.namespace.as_deref() == Some(&*namespace.name));
    assert_eq!(ours.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_set_with_kubectl_are_replaced() {
    let test = "fields_set_with_kubectl_are_replaced";
    let Some(server) = apiserver::shared(test).await else {
        return;
    };
    let namespace = server.namespace("console").await;
    let client = client(&namespace, server.admin_kubeconfig()).await;
    apply_as(&namespace, "kubectl-client-side-apply").await;
    let limit = "rateLimit: {tracesPerSecond: 5}";
    client.apply(document("a", limit)).await.unwrap();
    let expected = json!({"rateLimit": {"tracesPerSecond": 5}});
    assert_eq!(spec(&namespace, "a").await["head"], expected);
}

/// Applies the policy `a` as a field manager.
async fn apply_as(namespace: &Namespace<'_>, manager: &str) {
    let policy = json!({
        "apiVersion": "spoor.dev/v1alpha1",
        "kind": "SamplingPolicy",
        "metadata": {"name": "a"},
        "spec": {"targets": [{"service": "a"}], "head": {"probability": "1%"}},
    });
    let applied = namespace
        .server
        .apply(policy, Some(&namespace.name), manager);
    applied.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_by_others_are_noticed() {
    let test = "changes_by_others_are_noticed";
    let Some(server) = apiserver::shared(test).await else {
        return;
    };
    let namespace = server.namespace("console").await;
    let client = client(&namespace, reader(&namespace).await).await;
    let (mut changes, stop) = (client.policy_changes(), CancellationToken::new());
    let watching = tokio::spawn({
        let (client, stop) = (client.clone(), stop.clone());
        async move { client.watch(&stop).await }
    });
    // The list at the start of the watch.
    timeout(MAX_WAIT, changes.changed()).await.unwrap().unwrap();
    let policy = SamplingPolicy::apply(&namespace, "a", "1%").await;
    timeout(MAX_WAIT, changes.changed()).await.unwrap().unwrap();
    policy.delete().await;
    timeout(MAX_WAIT, changes.changed()).await.unwrap().unwrap();
    stop.cancel();
    watching.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn convergence_needs_an_operator() {
    let test = "convergence_needs_an_operator";
    let Some(server) = apiserver::shared(test).await else {
        return;
    };
    let namespace = server.namespace("console").await;
    let client = client(&namespace, server.admin_kubeconfig()).await;
    let documents = [document("a", "probability: 1%")];
    let applied = client.apply_documents(&documents).await.unwrap();
    let expected = BTreeMap::from([(key(&namespace, "a"), 1)]);
    assert_eq!(applied.generations, expected);
    let waited = client.converged(&expected, Duration::ZERO).await.unwrap();
    assert!(!waited.is_converged);
    assert!(waited.reasons[0].contains("no operator"), "{waited:?}");
}
