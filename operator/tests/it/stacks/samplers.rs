//! The samplers of a stack, with a test in place of their programs.

use std::{
    future::ready,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use axum::{Router, routing::get};
use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    core::v1::{PersistentVolumeClaim, Pod, Secret},
};
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use spoor_api::tracing_stack::Quantity;
use spoor_operator::kubernetes::{apply::Applier, resources::tracing_stacks, watch::Key};
use spoor_policy::{Namespace, TailTable};
use tokio::net::TcpListener;

use super::{Stacks, has_reason, is_settled, until, waits_for_former_engine};
use crate::apiserver;

/// The samplers' port of metrics. Each has an address of its own.
const OPS_PORT: u16 = 9464;

/// The metrics of a stack's samplers, all of which report the same.
#[derive(Clone, Debug, Default)]
struct Gauges {
    generation: Arc<AtomicU64>,
    settled: Arc<AtomicU64>,
    undelivered: Arc<AtomicU64>,
    /// True if they have no tail rules.
    keeps_all: Arc<AtomicBool>,
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
        let digest = match self.keeps_all.load(Ordering::Relaxed) {
            true => TailTable::default()
                .digest(&Namespace::default())
                .to_string(),
            false => "0".to_owned(),
        };
        format!(
            "spoor_sampler_rings_generation {generation}\n\
             spoor_sampler_rules{{version=\"1\",digest=\"{digest}\"}} 1\n\
             spoor_sampler_rings_settled_generation {settled}\n\
             spoor_sampler_undelivered {undelivered}\n\
             # EOF\n"
        )
    }

    /// Reports that the samplers have these rings.
    fn adopt(&self, rings: &Value) {
        let generation = rings["generation"].as_u64().unwrap();
        self.generation.store(generation, Ordering::Relaxed);
    }

    /// Reports that the samplers have these rings, and know no trace from before them.
    fn settle(&self, rings: &Value) {
        self.adopt(rings);
        let generation = rings["generation"].as_u64().unwrap();
        self.settled.store(generation, Ordering::Relaxed);
    }
}

/// Creates the pod of a sampler with these metrics.
async fn start_sampler(role: &Stacks<'_>, ordinal: usize, ip: &str, gauges: &Gauges) {
    let labels = [
        ("app.kubernetes.io/managed-by", "spoor-operator"),
        ("app.kubernetes.io/instance", "tracing"),
        ("app.kubernetes.io/name", "sampler"),
    ];
    let name = format!("tracing-sampler-{ordinal}");
    role.namespace.ready_pod(&name, &labels, ip).await;
    gauges.serve(ip).await;
}

async fn apply(role: &Stacks<'_>, replicas: u16) {
    let sampler = json!({"engine": "Spoor", "replicas": replicas});
    role.apply("tracing", json!({"sampler": sampler})).await;
}

/// Applies a stack with one sampler, and runs its pods.
async fn run_stack(role: &Stacks<'_>) {
    apply(role, 1).await;
    until("the stack", async || {
        role.exists::<Deployment>("tracing-collector").await
            && role.exists::<Deployment>("tracing-jaeger").await
    })
    .await;
    role.run_pods().await;
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
        start_sampler(&role, ordinal, ip, &gauges).await;
    }

    apply(&role, 1).await;
    let first = wait_for_rings(&role, &[1]).await;
    apply(&role, 2).await;
    until("two samplers", async || replicas(&role).await == Some(2)).await;
    let status = role.wait_for_status("tracing", has_reason("Scaling")).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn unneeded_sampler_stays_until_it_is_empty() {
    let test = "unneeded_sampler_stays_until_it_is_empty";
    let Some(server) = apiserver::shared(test).await else {
        return;
    };
    let namespace = server.namespace("spoor-leaving").await;
    let role = Stacks::start(&namespace).await;
    let gauges = Gauges::default();
    gauges.undelivered.store(1, Ordering::Relaxed);
    start_sampler(&role, 0, "127.0.95.1", &gauges).await;
    run_stack(&role).await;
    role.wait_for_status("tracing", is_settled).await;

    let existing = json!({"otlp": "collector.tools.svc:4317"});
    role.apply("tracing", json!({"collector": {"existing": existing}}))
        .await;
    role.wait_for_status("tracing", has_reason("MovingTraffic"))
        .await;
    assert_eq!(replicas(&role).await, Some(1));
    assert!(role.exists::<Deployment>("tracing-collector").await);
    gauges.undelivered.store(0, Ordering::Relaxed);
    until("no sampler", async || replicas(&role).await.is_none()).await;
    role.wait_for_status("tracing", is_settled).await;
    role.stop().await;
}

/// The other engine would decide on its own part of a trace.
#[tokio::test(flavor = "multi_thread")]
async fn traffic_stays_until_samplers_keep_all() {
    let test = "traffic_stays_until_samplers_keep_all";
    let Some(server) = apiserver::shared(test).await else {
        return;
    };
    let namespace = server.namespace("spoor-former").await;
    let role = Stacks::start(&namespace).await;
    let gauges = Gauges::default();
    start_sampler(&role, 0, "127.0.96.1", &gauges).await;
    run_stack(&role).await;
    let status = role.wait_for_status("tracing", is_settled).await;
    assert_eq!(status["tail"], Value::Null);

    let stock = json!({"engine": "OpenTelemetry"});
    role.apply("tracing", json!({"sampler": stock})).await;
    until("both tiers", async || {
        role.exists::<Deployment>("tracing-gather").await
            && role.exists::<Deployment>("tracing-decide").await
    })
    .await;
    role.run_pods().await;
    let status = role
        .wait_for_status("tracing", waits_for_former_engine)
        .await;
    assert_eq!(status["tail"]["policies"], 0);
    role.wait_until_route_is("collector").await;
    gauges.keeps_all.store(true, Ordering::Relaxed);
    role.wait_until_route_is("collector-gather").await;
    let status = role
        .wait_for_status("tracing", has_reason("MovingTraffic"))
        .await;
    assert_eq!(status["tail"]["policies"], 0);
    assert_eq!(replicas(&role).await, Some(1));
    role.stop().await;
}

/// The API server refuses to change the template of claims.
#[tokio::test(flavor = "multi_thread")]
async fn new_claims_need_a_new_stateful_set() {
    let test = "new_claims_need_a_new_stateful_set";
    let Some(server) = apiserver::shared(test).await else {
        return;
    };
    let namespace = server.namespace("spoor-claims").await;
    let role = Stacks::start(&namespace).await;
    apply(&role, 1).await;
    until("the sampler", async || replicas(&role).await == Some(1)).await;
    apply_claim(&role, "1Gi").await;
    // Its pods have no claim, and cannot get one.
    finish_deletion(&role, "foregroundDeletion").await;
    until("the next one has a template", async || {
        template_bytes(&role).await == Some(1 << 30)
    })
    .await;
    let claims = namespace.api::<PersistentVolumeClaim>();
    let claim = claims.get("journal-tracing-sampler-0").await.unwrap();
    assert!(claim.metadata.owner_references.is_some());

    apply_claim(&role, "2Gi").await;
    // Its pods stay, and keep their claims.
    finish_deletion(&role, "orphan").await;
    until("the next one has the size", async || {
        template_bytes(&role).await == Some(2 << 30)
    })
    .await;
    role.stop().await;
}

/// The operator may create Secrets, but neither read nor change them.
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

async fn apply_claim(role: &Stacks<'_>, size: &str) {
    let storage = json!({"size": size, "claim": {}});
    let sampler = json!({"engine": "Spoor", "storage": storage});
    role.apply("tracing", json!({"sampler": sampler})).await;
}

/// Waits until the StatefulSet is being deleted with this finalizer, and removes it, as the garbage
/// collector does, which a bare API server does not have.
async fn finish_deletion(role: &Stacks<'_>, finalizer: &str) {
    let sets = role.namespace.api::<StatefulSet>();
    until(finalizer, async || {
        let set = sets.get("tracing-sampler").await.unwrap();
        set.metadata.finalizers.unwrap_or_default() == [finalizer]
    })
    .await;
    let finalizers = json!({"metadata": {"finalizers": null}});
    let (parameters, patch) = (PatchParams::default(), Patch::Merge(finalizers));
    sets.patch("tracing-sampler", &parameters, &patch)
        .await
        .unwrap();
}

/// The size in the template of the StatefulSet's claims, in bytes.
async fn template_bytes(role: &Stacks<'_>) -> Option<u128> {
    let sets = role.namespace.api::<StatefulSet>();
    let set = sets.get_opt("tracing-sampler").await.unwrap();
    let set = serde_json::to_value(set).unwrap();
    let size = set.pointer("/spec/volumeClaimTemplates/0/spec/resources/requests/storage");
    let size = Quantity(size?.as_str()?.to_owned());
    Some(size.millionths().unwrap() / 1_000_000)
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
