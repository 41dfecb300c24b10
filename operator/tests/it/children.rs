//! The objects of a stack stay as the operator made them, whoever deletes or edits them; objects of
//! others are left alone.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Service},
};
use kube::{
    Api,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::{Value, json};
use spoor_operator::kubernetes::resources::tracing_stacks;

use crate::{
    apiserver::{self, Namespace, eventually},
    role::{MAX_WAIT, replica::Release, sampling_policy::condition},
};

const STACK: &str = "tracing";

/// Objects by `KIND/NAME`.
pub type Names = BTreeMap<String, Value>;

/// Applies a stack. If its spec chooses no sampler, the Collector itself decides.
pub async fn apply_stack(namespace: &Namespace<'_>, mut spec: Value) {
    if spec["sampler"].is_null() {
        spec["sampler"] = json!({"engine": "OpenTelemetry"});
    }
    let stack = json!({
        "apiVersion": "spoor.dev/v1alpha1",
        "kind": "TracingStack",
        "metadata": {"name": STACK},
        "spec": spec,
    });
    namespace.apply(stack).await.unwrap();
}

pub async fn stack(namespace: &Namespace<'_>) -> Value {
    let client = namespace.client.clone();
    let stacks = Api::<DynamicObject>::namespaced_with(client, &namespace.name, &tracing_stacks());
    serde_json::to_value(stacks.get(STACK).await.unwrap()).unwrap()
}

pub async fn delete_stack(namespace: &Namespace<'_>) {
    let client = namespace.client.clone();
    let stacks = Api::<DynamicObject>::namespaced_with(client, &namespace.name, &tracing_stacks());
    stacks
        .delete(STACK, &DeleteParams::default())
        .await
        .unwrap();
}

/// Every object of the kinds that a stack consists of.
async fn children(namespace: &Namespace<'_>) -> Names {
    let kinds = [
        ("apps", "v1", "Deployment"),
        ("apps", "v1", "StatefulSet"),
        ("", "v1", "Service"),
        ("", "v1", "ConfigMap"),
        ("", "v1", "PersistentVolumeClaim"),
        ("networking.k8s.io", "v1", "NetworkPolicy"),
        ("policy", "v1", "PodDisruptionBudget"),
    ];
    let mut names = Names::new();
    for (group, version, kind) in kinds {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        let client = namespace.client.clone();
        let api = Api::<DynamicObject>::namespaced_with(client, &namespace.name, &resource);
        for object in api.list(&ListParams::default()).await.unwrap() {
            let name = object.metadata.name.clone().unwrap();
            if name.starts_with(STACK) {
                let mut value = serde_json::to_value(object).unwrap();
                // The items of a list lack them.
                value["apiVersion"] = json!(resource.api_version);
                value["kind"] = json!(kind);
                names.insert(format!("{kind}/{name}"), value);
            }
        }
    }
    names
}

/// Waits until the objects of a complete stack exist. Returns all of its objects.
pub async fn wait_until_complete(namespace: &Namespace<'_>) -> Names {
    let engine = stack(namespace).await["spec"]["sampler"]["engine"].clone();
    let [first, second] = match engine == "Spoor" {
        true => [
            "Deployment/tracing-collector",
            "StatefulSet/tracing-sampler",
        ],
        false => ["Deployment/tracing-gather", "Deployment/tracing-decide"],
    };
    let needed = [
        "Deployment/tracing-jaeger",
        first,
        second,
        "Service/tracing-otlp",
        "Service/tracing-query",
        "ConfigMap/tracing-otel-env",
        "ConfigMap/tracing-ca",
    ];
    eventually("the stack's objects", MAX_WAIT * 2, async || {
        let objects = children(namespace).await;
        match needed.iter().find(|name| !objects.contains_key(**name)) {
            None => Ok(objects),
            Some(missing) => {
                let status = stack(namespace).await["status"].clone();
                Err(format!("no {missing}; {:?}; {status}", objects.keys()))
            }
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_or_edited_children_are_restored() {
    let test = "deleted_or_edited_children_are_restored";
    let Some(server) = apiserver::shared(test).await else {
        return;
    };
    let namespace = server.namespace("spoor-hands").await;
    apply_stack(&namespace, json!({})).await;
    let release = Release::new(&namespace, "stacks").await;
    let replica = release.start("stacks-0");
    let before = wait_until_complete(&namespace).await;

    let (deployments, services) = (namespace.api::<Deployment>(), namespace.api::<Service>());
    let maps = namespace.api::<ConfigMap>();
    let now = DeleteParams::default();
    deployments.delete("tracing-jaeger", &now).await.unwrap();
    services.delete("tracing-otlp", &now).await.unwrap();
    maps.delete("tracing-otel-env", &now).await.unwrap();
    // A kubectl edit scales a Deployment, points a Service elsewhere, and adds an annotation, which
    // belongs to the user.
    let scaled = json!({
        "spec": {"replicas": 7},
        "metadata": {"annotations": {"example.com/note": "ours"}},
    });
    let patch = PatchParams::default();
    deployments
        .patch("tracing-gather", &patch, &Patch::Merge(scaled))
        .await
        .unwrap();
    let pointed = json!({"spec": {"selector": {"app.kubernetes.io/name": "evil"}}});
    services
        .patch("tracing-query", &patch, &Patch::Merge(pointed))
        .await
        .unwrap();

    eventually("the children are restored", MAX_WAIT, async || {
        let after = children(&namespace).await;
        for (name, object) in &before {
            let now = after.get(name).ok_or_else(|| format!("no {name}"))?;
            let parts = ["/spec/replicas", "/spec/selector", "/data"];
            for part in parts {
                if object.pointer(part) != now.pointer(part) {
                    let last = replica.process.log_tail();
                    return Err(format!("{name}{part}: {:?}\n{last}", now.pointer(part)));
                }
            }
        }
        Ok(())
    })
    .await;
    let gather = deployments.get("tracing-gather").await.unwrap();
    let notes = gather.metadata.annotations.unwrap_or_default();
    assert_eq!(
        notes.get("example.com/note").map(String::as_str),
        Some("ours")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn field_conflict_ends_without_a_fight() {
    let test = "field_conflict_ends_without_a_fight";
    let Some(server) = apiserver::shared(test).await else {
        return;
    };
    let namespace = server.namespace("spoor-conflict").await;
    apply_stack(&namespace, json!({})).await;
    let release = Release::new(&namespace, "stacks").await;
    let _replica = release.start("stacks-0");
    wait_until_complete(&namespace).await;

    let theirs = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "tracing-jaeger"},
        "spec": {"replicas": 5},
    });
    server
        .apply(theirs, Some(&namespace.name), "somebody")
        .await
        .unwrap();
    let deployments = namespace.api::<Deployment>();
    eventually("one replica again", MAX_WAIT, async || {
        let jaeger = deployments.get("tracing-jaeger").await.unwrap();
        match jaeger.spec.unwrap().replicas {
            Some(1) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    // The operator restores the object once and reports that in the status; then it writes nothing.
    let user = format!("system:serviceaccount:{0}:{0}-stacks", namespace.name);
    eventually("three seconds without a write", MAX_WAIT, async || {
        let mark = server.mark();
        tokio::time::sleep(Duration::from_secs(3)).await;
        let calls = server.calls_since(mark).into_iter();
        let writes = calls.filter(|call| call.user == user && call.is_write());
        let others: Vec<_> = writes.filter(|call| call.resource != "leases").collect();
        match others.is_empty() {
            true => Ok(()),
            false => Err(format!("{others:#?}")),
        }
    })
    .await;
    let jaeger = deployments.get("tracing-jaeger").await.unwrap();
    let generation = jaeger.metadata.generation;
    assert_eq!(generation, Some(3), "created, changed, restored once");
}

#[tokio::test(flavor = "multi_thread")]
async fn object_of_another_owner_is_left_alone() {
    let Some(server) = apiserver::shared("object_of_another_owner_is_left_alone").await else {
        return;
    };
    let namespace = server.namespace("spoor-taken").await;
    let theirs = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "tracing-otel-env"},
        "data": {"MINE": "yes"},
    });
    namespace.apply(theirs).await.unwrap();
    apply_stack(&namespace, json!({})).await;
    let release = Release::new(&namespace, "stacks").await;
    let _replica = release.start("stacks-0");

    let message = eventually("the stack reports it", MAX_WAIT, async || {
        let status = stack(&namespace).await["status"].clone();
        let degraded = condition(&status, "Degraded");
        match (degraded["status"].as_str(), degraded["reason"].as_str()) {
            (Some("True"), Some("NameTaken")) => Ok(degraded["message"].to_string()),
            _ => Err(status.to_string()),
        }
    })
    .await;
    assert!(message.contains("tracing-otel-env"), "{message}");
    let map = namespace
        .api::<ConfigMap>()
        .get("tracing-otel-env")
        .await
        .unwrap();
    assert_eq!(json!(map.data), json!({"MINE": "yes"}));
    assert!(map.metadata.owner_references.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn children_are_owned_by_their_stack() {
    let test = "children_are_owned_by_their_stack";
    let Some(server) = apiserver::shared(test).await else {
        return;
    };
    let namespace = server.namespace("spoor-owned").await;
    let storage = json!({"badger": {"size": "1Gi"}});
    let spec = json!({"jaeger": {"storage": storage}, "collector": {"replicas": 2}});
    apply_stack(&namespace, spec).await;
    let release = Release::new(&namespace, "stacks").await;
    let _replica = release.start("stacks-0");
    let objects = wait_until_complete(&namespace).await;
    let claims = objects
        .keys()
        .filter(|name| name.starts_with("PersistentVolumeClaim/"));
    assert_eq!(claims.count(), 1, "{:?}", objects.keys());

    // The rest is left to the garbage collector, which a bare API server does not have.
    let uid = stack(&namespace).await["metadata"]["uid"].clone();
    for (name, object) in &objects {
        let owners = object["metadata"]["ownerReferences"].as_array();
        let owners = owners.unwrap_or_else(|| panic!("{name} has no owner"));
        assert_eq!(owners.len(), 1, "{name}");
        assert_eq!(owners[0]["uid"], uid, "{name}");
        assert_eq!(owners[0]["kind"], "TracingStack", "{name}");
        assert_ne!(owners[0]["blockOwnerDeletion"], json!(true), "{name}");
    }
    let finalizers = &stack(&namespace).await["metadata"]["finalizers"];
    assert!(
        finalizers.is_null(),
        "cannot be deleted without the operator: {finalizers}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_operator_completes_its_work() {
    let test = "killed_operator_completes_its_work";
    let Some(server) = apiserver::shared(test).await else {
        return;
    };
    let namespace = server.namespace("spoor-killed").await;
    apply_stack(&namespace, json!({})).await;
    let release = Release::new(&namespace, "stacks").await;
    // Killed each time after two more objects than before. The dead leader's lease is released by
    // the test, which would otherwise wait 15 s for it to expire.
    for count in 1..=4 {
        let replica = release.start("stacks-0");
        eventually("some objects", MAX_WAIT * 3, async || {
            let total = children(&namespace).await.len();
            match total >= count * 2 {
                true => Ok(()),
                false => Err(format!("{total}: {}", replica.process.log_tail())),
            }
        })
        .await;
        replica.process.kill();
        free_lease(&namespace).await;
    }
    let _replica = release.start("stacks-0");
    wait_until_complete(&namespace).await;
    let uids = |objects: &Names| -> Vec<Value> {
        objects
            .values()
            .map(|object| object["metadata"]["uid"].clone())
            .collect()
    };
    let first = wait_until_complete(&namespace).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let second = wait_until_complete(&namespace).await;
    assert_eq!(
        uids(&first),
        uids(&second),
        "the operator recreates objects"
    );
}

async fn free_lease(namespace: &Namespace<'_>) {
    use k8s_openapi::api::coordination::v1::Lease;
    let change = json!({"spec": {"holderIdentity": null}});
    let leases = namespace.api::<Lease>();
    let (parameters, change) = (PatchParams::default(), Patch::Merge(change));
    leases
        .patch("spoor-stacks", &parameters, &change)
        .await
        .unwrap();
}
