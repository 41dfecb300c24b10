//! The number of samplers changes, with a test in place of their programs.

use std::{
    future::ready,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::{Router, routing::get};
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{PersistentVolumeClaim, Pod, Secret},
};
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use spoor_operator::kubernetes::{apply::Applier, resources::tracing_stacks, watch::Key};
use tokio::net::TcpListener;

use super::{Stacks, until};
use crate::{apiserver, role::sampling_policy::condition};

/// The samplers' port of metrics. Each has an address of its own.
const OPS_PORT: u16 = 9464;

/// The metrics of all samplers of a stack, which are the same.
#[derive(Clone, Debug, Default)]
struct Gauges {
    generation: Arc<AtomicU64>,
    settled: Arc<AtomicU64>,
    undelivered: Arc<AtomicU64>,
}

impl Gauges {
    /// Serves the metrics at this address.
    async fn serve(&self, ip: &str) {
        let gauges = self.clone();
        let listener = TcpListener::bind((ip, OPS_PORT)).await.unwrap();
        let router = Router::new().route("/metrics", get(move || ready(gauges.text())));
        tokio::spawn(async move { axum::serve(listener, router).await });
    }

    fn text(&self) -> String {
        let [generation, settled, undelivered] =
            [&self.generation, &self.settled, &self.undelivered]
                .map(|gauge| gauge.load(Ordering::Relaxed));
        format!(
            "spoor_sampler_rings_generation {generation}\n\
             spoor_sampler_rings_settled_generation {settled}\n\
             spoor_sampler_undelivered {undelivered}\n\
             # EOF\n"
        )
    }

    /// The samplers receive these rings.
    fn adopt(&self, rings: &Value) {
        let generation = rings["generation"].as_u64().unwrap();
        self.generation.store(generation, Ordering::Relaxed);
    }

    /// The samplers have these rings, and know no trace from before.
    fn settle(&self, rings: &Value) {
        self.adopt(rings);
        let generation = rings["generation"].as_u64().unwrap();
        self.settled.store(generation, Ordering::Relaxed);
    }
}

async fn apply(role: &Stacks<'_>, replicas: u16) {
    let sampler = json!({"engine": "Spoor", "replicas": replicas});
    role.apply("tracing", json!({"sampler": sampler})).await;
}

/// Waits for rings with these numbers of members, and returns them.
async fn wait_for_rings(role: &Stacks<'_>, members: &[u32]) -> Value {
    let has_rings = |status: &Value| status["sampler"]["rings"]["members"] == json!(members);
    let status = role.wait_for_status("tracing", has_rings).await;
    status["sampler"]["rings"].clone()
}

async fn replicas(role: &Stacks<'_>) -> Option<i32> {
    let sets = role.namespace.api::<StatefulSet>();
    let set = sets.get_opt("tracing-sampler").await.unwrap();
    set.and_then(|set| set.spec?.replicas)
}

#[tokio::test(flavor = "multi_thread")]
async fn samplers_are_scaled_in_steps() {
    let Some(server) = apiserver::shared("samplers_are_scaled_in_steps").await else {
        return;
    };
    let namespace = server.namespace("spoor-rings").await;
    let role = Stacks::start(&namespace).await;
    let gauges = Gauges::default();
    for (ordinal, ip) in ["127.0.94.1", "127.0.94.2"].into_iter().enumerate() {
        let labels = [
            ("app.kubernetes.io/managed-by", "spoor-operator"),
            ("app.kubernetes.io/instance", "tracing"),
            ("app.kubernetes.io/name", "sampler"),
        ];
        let name = format!("tracing-sampler-{ordinal}");
        namespace.ready_pod(&name, &labels, ip).await;
        gauges.serve(ip).await;
    }

    apply(&role, 1).await;
    let first = wait_for_rings(&role, &[1]).await;
    apply(&role, 2).await;
    until("two samplers", async || replicas(&role).await == Some(2)).await;
    let scales = |status: &Value| condition(status, "Progressing")["reason"] == "Scaling";
    let status = role.wait_for_status("tracing", scales).await;
    assert_eq!(status["sampler"]["rings"], first);
    gauges.adopt(&first);
    let both = wait_for_rings(&role, &[1, 2]).await;
    assert!(both["generation"].as_u64() > first["generation"].as_u64());
    gauges.settle(&both);
    let larger = wait_for_rings(&role, &[2]).await;
    gauges.settle(&larger);

    gauges.undelivered.store(1, Ordering::Relaxed);
    apply(&role, 1).await;
    let both = wait_for_rings(&role, &[2, 1]).await;
    gauges.settle(&both);
    let smaller = wait_for_rings(&role, &[1]).await;
    gauges.settle(&smaller);
    assert_eq!(replicas(&role).await, Some(2), "the second one holds spans");
    gauges.undelivered.store(0, Ordering::Relaxed);
    until("one sampler", async || replicas(&role).await == Some(1)).await;
    role.stop().await;
}

/// The API server refuses to change the template of claims.
#[tokio::test(flavor = "multi_thread")]
async fn claims_are_added_by_a_new_stateful_set() {
    let test = "claims_are_added_by_a_new_stateful_set";
    let Some(server) = apiserver::shared(test).await else {
        return;
    };
    let namespace = server.namespace("spoor-claims").await;
    let role = Stacks::start(&namespace).await;
    apply(&role, 1).await;
    until("the sampler", async || replicas(&role).await == Some(1)).await;
    let sets = namespace.api::<StatefulSet>();
    let former = sets.get("tracing-sampler").await.unwrap();
    let storage = json!({"size": "1Gi", "claim": {}});
    role.apply(
        "tracing",
        json!({"sampler": {"engine": "Spoor", "storage": storage}}),
    )
    .await;
    until("the next one has a template", async || {
        let set = sets.get_opt("tracing-sampler").await.unwrap();
        let next = set.filter(|set| set.metadata.uid != former.metadata.uid);
        let templates = next.and_then(|set| set.spec?.volume_claim_templates);
        templates.is_some_and(|templates| templates.len() == 1)
    })
    .await;
    let claims = namespace.api::<PersistentVolumeClaim>();
    let claim = claims.get("journal-tracing-sampler-0").await.unwrap();
    assert!(claim.metadata.owner_references.is_some());
    role.stop().await;
}

/// The operator may create Secrets, and neither read nor change them.
#[tokio::test(flavor = "multi_thread")]
async fn token_is_created_once() {
    let Some(server) = apiserver::shared("token_is_created_once").await else {
        return;
    };
    let namespace = server.namespace("spoor-token").await;
    let role = Stacks::start(&namespace).await;
    apply(&role, 1).await;
    until("the sampler", async || replicas(&role).await == Some(1)).await;
    let secrets = namespace.api::<Secret>();
    let name = "tracing-sampler-peers";
    let secret = secrets.get(name).await.unwrap();
    let owners = secret.metadata.owner_references.unwrap();
    assert_eq!(owners[0].controller, Some(false));
    let token = secret.data.unwrap()["token"].clone();
    assert_eq!(token.0.len(), 64);
    let sampler = json!({"engine": "Spoor", "decisionWait": "2s"});
    role.apply("tracing", json!({"sampler": sampler})).await;
    role.wait_for_status("tracing", |_| true).await;
    let data = secrets.get(name).await.unwrap().data.unwrap();
    assert_eq!(data["token"], token);

    let now = DeleteParams::default();
    secrets.delete(name, &now).await.unwrap();
    start_pod_that_mounts(&role, name).await;
    until("another token", async || {
        secrets.get_opt(name).await.unwrap().is_some()
    })
    .await;
    role.stop().await;
}

/// Starts a sampler's pod, which waits for a Secret.
async fn start_pod_that_mounts(role: &Stacks<'_>, secret: &str) {
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "tracing-sampler-0", "labels": {
            "app.kubernetes.io/managed-by": "spoor-operator",
            "app.kubernetes.io/instance": "tracing",
            "app.kubernetes.io/name": "sampler",
        }},
        "spec": {
            "serviceAccountName": "default",
            "containers": [{"name": "sampler", "image": "test"}],
            "volumes": [{"name": "peers", "secret": {"secretName": secret}}],
        },
    });
    role.namespace.apply(pod).await.unwrap();
    let container = json!({
        "name": "sampler", "image": "test", "imageID": "", "ready": false, "restartCount": 0,
        "state": {"waiting": {"reason": "ContainerCreating"}},
    });
    let status = json!({"status": {"containerStatuses": [container]}});
    let (parameters, status) = (PatchParams::default(), Patch::Strategic(status));
    let pods = role.namespace.api::<Pod>();
    let patched = pods.patch_status("tracing-sampler-0", &parameters, &status);
    patched.await.unwrap();
}

/// Otherwise two leaders could write different rings.
#[tokio::test(flavor = "multi_thread")]
async fn status_is_written_to_one_version() {
    let Some(server) = apiserver::shared("status_is_written_to_one_version").await else {
        return;
    };
    let namespace = server.namespace("spoor-version").await;
    let stack = json!({
        "apiVersion": "spoor.dev/v1alpha1",
        "kind": "TracingStack",
        "metadata": {"name": "tracing"},
        "spec": {},
    });
    let created = namespace.apply(stack).await.unwrap();
    let version = created["metadata"]["resourceVersion"].as_str();
    let applier = Applier::new(namespace.client.clone(), "spoor-stacks");
    let (resource, key) = (
        tracing_stacks(),
        Key {
            namespace: namespace.name.clone(),
            name: "tracing".to_owned(),
        },
    );
    let (first, second) = (json!({"storage": "Memory"}), json!({"storage": "Badger"}));
    let written = applier.apply_status(&resource, &key, version, &first).await;
    assert_eq!(written.unwrap().data["status"], first);
    let refused = applier
        .apply_status(&resource, &key, version, &second)
        .await
        .unwrap_err();
    assert!(refused.is_conflict(), "{refused:?}");
    let written = applier.apply_status(&resource, &key, None, &second).await;
    assert_eq!(written.unwrap().data["status"], second);
}
