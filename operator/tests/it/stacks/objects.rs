//! The objects of stacks: created, left alone, deleted.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    core::v1::{ConfigMap, PersistentVolumeClaim, Service},
};
use kube::api::{DeleteParams, ListParams};
use serde_json::json;

use super::{Stacks, has_condition, has_reason, is_settled, until};
use crate::{
    apiserver::{self, eventually},
    role::{MAX_WAIT, chart, sampling_policy::condition},
};

#[tokio::test(flavor = "multi_thread")]
async fn available_stack_causes_no_more_writes() {
    let test = "available_stack_causes_no_more_writes";
    let Some(server) = apiserver::shared(test).await else {
        return;
    };
    let namespace = server.namespace("spoor-life").await;
    let role = Stacks::start(&namespace).await;
    role.apply("tracing", json!({})).await;
    let status = role
        .wait_for_status("tracing", |status| {
            has_condition(status, "Available", "False")
        })
        .await;
    assert_eq!(condition(&status, "Progressing")["reason"], "RollingOut");
    assert_eq!(
        status["endpoints"]["otlp"],
        format!("tracing-otlp.{}.svc:4317", namespace.name)
    );
    role.run_pods().await;
    let status = role.wait_for_status("tracing", is_settled).await;
    assert_eq!(status["route"], "Collector");
    assert_eq!(status["tail"]["policies"], 0);
    assert_eq!(condition(&status, "Degraded")["status"], "False");

    // Two stacks of one namespace do not affect each other.
    role.apply(
        "other",
        json!({"route": "Direct", "jaeger": {"storage": {"badger": {}}}}),
    )
    .await;
    until("the other's objects", async || {
        role.exists::<Deployment>("other-jaeger").await
    })
    .await;
    role.run_pods().await;
    role.wait_for_status("other", is_settled).await;
    assert!(role.exists::<PersistentVolumeClaim>("other-jaeger").await);
    assert!(!role.exists::<Deployment>("other-gather").await);

    // The last write comes back as a watch event; after that, nothing does.
    let mark = eventually("two seconds without reconciling", MAX_WAIT, async || {
        let mark = server.mark();
        let before = role.metric("spoor_operator_reconciles_total").await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let after = role.metric("spoor_operator_reconciles_total").await;
        match before == after {
            true => Ok(mark),
            false => Err(format!("{before}, then {after}")),
        }
    })
    .await;
    let account = chart::account_name(&namespace.name, "stacks");
    let calls = server.calls_of(&namespace.name, &account, mark);
    let writes: Vec<_> = calls
        .iter()
        .filter(|call| call.is_write() && call.resource != "leases")
        .collect();
    assert!(writes.is_empty(), "{writes:#?}");

    // A restarted operator finds everything as it should be.
    let versions = async || -> BTreeMap<String, Option<String>> {
        let all = namespace
            .api::<Deployment>()
            .list(&ListParams::default())
            .await
            .unwrap();
        let versions = all.items.into_iter().map(|it| it.metadata);
        versions
            .map(|it| (it.name.unwrap(), it.resource_version))
            .collect()
    };
    let before = versions().await;
    role.stop().await;
    let role = Stacks::start(&namespace).await;
    until("it reconciles", async || {
        role.metric("spoor_operator_reconciles_total").await > 1.0
    })
    .await;
    assert_eq!(versions().await, before);
    role.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unneeded_children_are_deleted() {
    let test = "unneeded_children_are_deleted";
    let Some(server) = apiserver::shared(test).await else {
        return;
    };
    let namespace = server.namespace("spoor-prune").await;
    let role = Stacks::start(&namespace).await;
    role.apply(
        "tracing",
        json!({"jaeger": {"storage": {"badger": {"size": "1Gi"}}}}),
    )
    .await;
    until("the Collector", async || {
        role.exists::<Deployment>("tracing-decide").await
    })
    .await;
    assert!(role.exists::<PersistentVolumeClaim>("tracing-jaeger").await);
    let elsewhere = json!({"existing": {"otlp": "collector.tools.svc:4317"}});
    role.apply("tracing", json!({"collector": elsewhere})).await;
    until("the Collector is deleted", async || {
        !role.exists::<Deployment>("tracing-gather").await
            && !role.exists::<Deployment>("tracing-decide").await
            && !role.exists::<Service>("tracing-decide").await
    })
    .await;
    let service = namespace
        .api::<Service>()
        .get("tracing-otlp")
        .await
        .unwrap();
    let spec = service.spec.unwrap();
    assert_eq!(spec.type_.as_deref(), Some("ExternalName"));
    assert_eq!(
        spec.external_name.as_deref(),
        Some("collector.tools.svc.cluster.local")
    );
    assert!(
        role.exists::<PersistentVolumeClaim>("tracing-jaeger").await,
        "traces are in it"
    );
    until("one configuration of Jaeger", async || {
        let maps = namespace
            .api::<ConfigMap>()
            .list(&ListParams::default())
            .await
            .unwrap();
        let names = maps.items.into_iter().filter_map(|map| map.metadata.name);
        names
            .filter(|name| name.starts_with("tracing-jaeger-"))
            .count()
            == 1
    })
    .await;
    role.stop().await;
}

/// The stack owns the sampler and the Collector around it without controlling them.
#[tokio::test(flavor = "multi_thread")]
async fn unneeded_sampler_is_deleted() {
    let test = "unneeded_sampler_is_deleted";
    let Some(server) = apiserver::shared(test).await else {
        return;
    };
    let namespace = server.namespace("spoor-unsampled").await;
    let role = Stacks::start(&namespace).await;
    role.apply("tracing", json!({"sampler": {"engine": "Spoor"}}))
        .await;
    role.wait_until_sampler_exists().await;
    let elsewhere = json!({"existing": {"otlp": "collector.tools.svc:4317"}});
    role.apply("tracing", json!({"collector": elsewhere})).await;
    until("both are deleted", async || {
        !role.exists::<StatefulSet>("tracing-sampler").await
            && !role.exists::<Deployment>("tracing-collector").await
            && !role.exists::<Service>("tracing-collector-kept").await
    })
    .await;
    role.stop().await;
}

/// The sampler's pod sends to the operator's own Collector until the pod is replaced.
#[tokio::test(flavor = "multi_thread")]
async fn own_collector_stays_until_sampler_leaves_it() {
    let test = "own_collector_stays_until_sampler_leaves_it";
    let Some(server) = apiserver::shared(test).await else {
        return;
    };
    let namespace = server.namespace("spoor-elsewhere").await;
    let role = Stacks::start(&namespace).await;
    role.apply("tracing", json!({"sampler": {"engine": "Spoor"}}))
        .await;
    role.wait_until_sampler_exists().await;
    role.run_pods().await;
    role.wait_for_status("tracing", is_settled).await;
    let otlp = "collector.tools.svc:4317";
    let elsewhere = json!({"existing": {"otlp": otlp, "kept": "collector.tools.svc:4319"}});
    role.apply("tracing", json!({"collector": elsewhere})).await;
    role.wait_for_status("tracing", has_reason("RollingOut"))
        .await;
    assert!(role.exists::<Deployment>("tracing-collector").await);
    assert!(role.exists::<Service>("tracing-collector-kept").await);
    role.run_pods().await;
    until("the Collector is deleted", async || {
        !role.exists::<Deployment>("tracing-collector").await
            && !role.exists::<Service>("tracing-collector-kept").await
    })
    .await;
    assert!(role.exists::<StatefulSet>("tracing-sampler").await);
    role.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_stack_keeps_its_children() {
    let test = "invalid_stack_keeps_its_children";
    let Some(server) = apiserver::shared(test).await else {
        return;
    };
    let namespace = server.namespace("spoor-invalid").await;
    let role = Stacks::start(&namespace).await;
    role.apply("tracing", json!({})).await;
    until("Jaeger", async || {
        role.exists::<Deployment>("tracing-jaeger").await
    })
    .await;
    // The API server checks only the outline of an affinity.
    let required = json!({"nodeSelectorTerms": [{"matchExpressions": 7}]});
    let scheduling = json!({"affinity": {
        "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required},
    }});
    role.apply("tracing", json!({"jaeger": {"scheduling": scheduling}}))
        .await;
    let status = role
        .wait_for_status("tracing", |status| {
            has_condition(status, "Degraded", "True")
        })
        .await;
    let degraded = condition(&status, "Degraded");
    assert_eq!(degraded["reason"], "Invalid");
    let message = degraded["message"].as_str().unwrap();
    assert!(
        message.starts_with("spec.jaeger.scheduling.affinity: must be"),
        "{message}"
    );
    assert!(role.exists::<Deployment>("tracing-jaeger").await);
    role.apply("tracing", json!({})).await;
    role.wait_for_status("tracing", |status| {
        has_condition(status, "Degraded", "False")
    })
    .await;
    role.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn recreated_stack_adopts_nothing() {
    let Some(server) = apiserver::shared("recreated_stack_adopts_nothing").await else {
        return;
    };
    let namespace = server.namespace("spoor-recreated").await;
    let role = Stacks::start(&namespace).await;
    role.apply("tracing", json!({})).await;
    until("Jaeger", async || {
        role.exists::<Deployment>("tracing-jaeger").await
    })
    .await;
    let jaeger = namespace.api::<Deployment>();
    let first = jaeger.get("tracing-jaeger").await.unwrap().metadata;
    // There is no garbage collector here, so the first stack's objects stay, as they do for a while
    // in a cluster.
    role.stacks()
        .delete("tracing", &DeleteParams::default())
        .await
        .unwrap();
    role.apply("tracing", json!({})).await;
    let uid = role
        .stacks()
        .get("tracing")
        .await
        .unwrap()
        .metadata
        .uid
        .unwrap();
    until("another Jaeger, of the new stack", async || {
        let Some(found) = jaeger.get_opt("tracing-jaeger").await.unwrap() else {
            return false;
        };
        let owners = found.metadata.owner_references.unwrap_or_default();
        found.metadata.uid != first.uid && owners.iter().all(|owner| owner.uid == uid)
    })
    .await;
    role.run_pods().await;
    role.wait_for_status("tracing", |status| {
        has_condition(status, "Degraded", "False")
    })
    .await;
    role.stop().await;
}
