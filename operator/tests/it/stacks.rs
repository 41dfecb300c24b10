//! The life of stacks, with a test in the place of the cluster's controllers: what is asked for
//! changes, routes turn, tail rules come into force, certificates are renewed.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Secret, Service},
};
use kube::{
    Api,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use spoor_operator::{
    kubernetes::{resources::tracing_stacks, watch::Scope},
    settings::Role,
    stacks::{self, Settings},
};
use tokio_util::sync::CancellationToken;

use crate::{
    apiserver::{self, Namespace, eventually},
    role::{QUICK, SOON, chart, sampling_policy::condition},
};

/// The role in the test's own process, for one namespace, as the chart's ServiceAccount.
pub struct Stacks<'a> {
    namespace: &'a Namespace<'a>,
    running: stacks::Running,
    stop: CancellationToken,
}

impl<'a> Stacks<'a> {
    pub async fn start(namespace: &'a Namespace<'a>) -> Self {
        Self::start_with(namespace, |_| {}).await
    }

    pub async fn start_with(
        namespace: &'a Namespace<'a>,
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        let client = chart::account(namespace, "stacks").await;
        let role = Role {
            namespace: namespace.name.clone(),
            identity: "stacks-0".to_owned(),
            pod: "stacks-0".to_owned(),
            installation: "spoor".to_owned(),
            scope: Scope::Only([namespace.name.clone()].into()),
            ops: ([127, 0, 0, 1], 0).into(),
            lease: "spoor-stacks".to_owned(),
            timing: QUICK,
            claim_timing: QUICK,
        };
        let mut settings = Settings::new(role, "spoor-policies".to_owned());
        change(&mut settings);
        let stop = CancellationToken::new();
        let running = stacks::start(client, settings, stop.clone()).await.unwrap();
        Self {
            namespace,
            running,
            stop,
        }
    }

    /// What the port for operators answers at this path.
    pub async fn ops(&self, path: &str) -> String {
        let url = format!("http://{}/{path}", self.running.ops());
        reqwest::get(url).await.unwrap().text().await.unwrap()
    }

    async fn metric(&self, name: &str) -> f64 {
        let text = self.ops("metrics").await;
        let mut lines = text
            .lines()
            .filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        lines.next().unwrap().parse().unwrap()
    }

    pub async fn stop(self) {
        self.stop.cancel();
        self.running.finished().await.unwrap();
    }

    pub async fn apply(&self, name: &str, spec: Value) {
        let stack = json!({
            "apiVersion": "spoor.dev/v1alpha1",
            "kind": "TracingStack",
            "metadata": {"name": name},
            "spec": spec,
        });
        self.namespace.apply(stack).await.unwrap();
    }

    fn stacks(&self) -> Api<DynamicObject> {
        let client = self.namespace.client.clone();
        Api::namespaced_with(client, &self.namespace.name, &tracing_stacks())
    }

    /// Waits for a status; of the stack as it was last asked for.
    pub async fn status(&self, name: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        eventually("the status says so", SOON, async || {
            let stack = self
                .stacks()
                .get(name)
                .await
                .map_err(|error| error.to_string())?;
            let status = stack.data["status"].clone();
            let is_current = status["observedGeneration"] == json!(stack.metadata.generation);
            match is_current && is_so(&status) {
                true => Ok(status),
                false => Err(format!("{status:#}")),
            }
        })
        .await
    }

    /// Does what the Deployment controller and the kubelet would: every Deployment of the stack
    /// has its pods, which are ready.
    pub async fn run_pods(&self) {
        let deployments = self.namespace.api::<Deployment>();
        for deployment in deployments.list(&ListParams::default()).await.unwrap() {
            let name = deployment.metadata.name.unwrap();
            let spec = deployment.spec.unwrap();
            let labels = spec.template.metadata.unwrap().labels.unwrap();
            let pod = format!("{name}-0");
            if self
                .namespace
                .api::<Pod>()
                .get_opt(&pod)
                .await
                .unwrap()
                .is_none()
            {
                let labels: Vec<_> = labels
                    .iter()
                    .map(|(key, value)| (key.as_str(), value.as_str()))
                    .collect();
                self.namespace.ready_pod(&pod, &labels, "127.0.0.3").await;
            }
            let replicas = spec.replicas;
            let status = json!({"status": {
                "observedGeneration": deployment.metadata.generation,
                "replicas": replicas,
                "updatedReplicas": replicas,
                "readyReplicas": replicas,
                "availableReplicas": replicas,
            }});
            let (parameters, status) = (PatchParams::default(), Patch::Merge(status));
            deployments
                .patch_status(&name, &parameters, &status)
                .await
                .unwrap();
        }
    }

    pub async fn there<K>(&self, name: &str) -> bool
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + serde::de::DeserializeOwned,
    {
        self.namespace
            .api::<K>()
            .get_opt(name)
            .await
            .unwrap()
            .is_some()
    }

    /// Where services lead.
    async fn leads_to(&self, component: &str) {
        eventually("services lead there", SOON, async || {
            let service = self.namespace.api::<Service>().get("tracing-otlp").await;
            let spec = service.map_err(|error| error.to_string())?.spec.unwrap();
            let selector = spec.selector.unwrap_or_default();
            match selector.get("app.kubernetes.io/name").map(String::as_str) {
                Some(name) if name == component => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }
}

pub fn is(status: &Value, kind: &str, expected: &str) -> bool {
    condition(status, kind)["status"] == expected
}

fn is_settled(status: &Value) -> bool {
    is(status, "Available", "True") && is(status, "Progressing", "False")
}

pub async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    eventually(what, SOON, async || match is_so().await {
        true => Ok(()),
        false => Err("not yet".to_owned()),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_becomes_available_and_then_nothing_is_written_any_more() {
    let test = "a_stack_becomes_available_and_then_nothing_is_written_any_more";
    let Some(server) = apiserver::shared(test).await else {
        return;
    };
    let namespace = server.namespace("spoor-life").await;
    let role = Stacks::start(&namespace).await;
    role.apply("tracing", json!({})).await;
    let status = role
        .status("tracing", |status| is(status, "Available", "False"))
        .await;
    assert_eq!(condition(&status, "Progressing")["reason"], "RollingOut");
    assert_eq!(
        status["endpoints"]["otlp"],
        format!("tracing-otlp.{}.svc:4317", namespace.name)
    );
    role.run_pods().await;
    let status = role.status("tracing", is_settled).await;
    assert_eq!(status["route"], "Collector");
    assert_eq!(status["tail"]["policies"], 0);
    assert_eq!(condition(&status, "Degraded")["status"], "False");

    // Two stacks of one namespace don't know of each other.
    role.apply(
        "other",
        json!({"route": "Direct", "jaeger": {"storage": {"badger": {}}}}),
    )
    .await;
    until("the other's objects", async || {
        role.there::<Deployment>("other-jaeger").await
    })
    .await;
    role.run_pods().await;
    role.status("other", is_settled).await;
    assert!(role.there::<PersistentVolumeClaim>("other-jaeger").await);
    assert!(!role.there::<Deployment>("other-gather").await);

    // What was written last comes back as an event; then nothing does.
    let mark = eventually("two seconds without reconciling", SOON, async || {
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

    // One that begins anew finds everything as it should be.
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
async fn what_is_no_longer_wanted_goes_but_for_what_holds_traces() {
    let test = "what_is_no_longer_wanted_goes_but_for_what_holds_traces";
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
        role.there::<Deployment>("tracing-decide").await
    })
    .await;
    assert!(role.there::<PersistentVolumeClaim>("tracing-jaeger").await);
    let elsewhere = json!({"existing": {"otlp": "collector.tools.svc:4317"}});
    role.apply("tracing", json!({"collector": elsewhere})).await;
    until("the Collector goes", async || {
        !role.there::<Deployment>("tracing-gather").await
            && !role.there::<Deployment>("tracing-decide").await
            && !role.there::<Service>("tracing-decide").await
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
        role.there::<PersistentVolumeClaim>("tracing-jaeger").await,
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

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_stack_says_so_and_what_ran_runs_on() {
    let test = "an_invalid_stack_says_so_and_what_ran_runs_on";
    let Some(server) = apiserver::shared(test).await else {
        return;
    };
    let namespace = server.namespace("spoor-invalid").await;
    let role = Stacks::start(&namespace).await;
    role.apply("tracing", json!({})).await;
    until("Jaeger", async || {
        role.there::<Deployment>("tracing-jaeger").await
    })
    .await;
    // The API server knows the outline of an affinity only.
    let required = json!({"nodeSelectorTerms": [{"matchExpressions": 7}]});
    let scheduling = json!({"affinity": {
        "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required},
    }});
    role.apply("tracing", json!({"jaeger": {"scheduling": scheduling}}))
        .await;
    let status = role
        .status("tracing", |status| is(status, "Degraded", "True"))
        .await;
    let degraded = condition(&status, "Degraded");
    assert_eq!(degraded["reason"], "Invalid");
    let message = degraded["message"].as_str().unwrap();
    assert!(
        message.starts_with("spec.jaeger.scheduling.affinity: must be"),
        "{message}"
    );
    assert!(role.there::<Deployment>("tracing-jaeger").await);
    role.apply("tracing", json!({})).await;
    role.status("tracing", |status| is(status, "Degraded", "False"))
        .await;
    role.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_made_anew_takes_nothing_over() {
    let Some(server) = apiserver::shared("a_stack_made_anew_takes_nothing_over").await else {
        return;
    };
    let namespace = server.namespace("spoor-anew").await;
    let role = Stacks::start(&namespace).await;
    role.apply("tracing", json!({})).await;
    until("Jaeger", async || {
        role.there::<Deployment>("tracing-jaeger").await
    })
    .await;
    let jaeger = namespace.api::<Deployment>();
    let first = jaeger.get("tracing-jaeger").await.unwrap().metadata;
    // No garbage collector here: what the first one leaves stays, as it does for a while elsewhere.
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
    role.status("tracing", |status| is(status, "Degraded", "False"))
        .await;
    role.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_turns_when_the_new_way_is_ready_and_the_old_one_stays_a_while() {
    let test = "a_route_turns_when_the_new_way_is_ready_and_the_old_one_stays_a_while";
    let Some(server) = apiserver::shared(test).await else {
        return;
    };
    let namespace = server.namespace("spoor-route").await;
    let role = Stacks::start(&namespace).await;
    role.apply("tracing", json!({"route": "Direct"})).await;
    role.leads_to("jaeger").await;
    until("Jaeger", async || {
        role.there::<Deployment>("tracing-jaeger").await
    })
    .await;
    role.run_pods().await;
    let status = role.status("tracing", is_settled).await;
    assert_eq!(status["route"], "Direct");
    assert_eq!(status["tail"], Value::Null);

    role.apply("tracing", json!({"route": "Collector"})).await;
    until("the Collector", async || {
        role.there::<Deployment>("tracing-decide").await
    })
    .await;
    let waits = |status: &Value| condition(status, "Progressing")["reason"] == "WaitingForRoute";
    role.status("tracing", waits).await;
    role.leads_to("jaeger").await;
    role.run_pods().await;
    role.leads_to("collector-gather").await;
    let moves = |status: &Value| condition(status, "Progressing")["reason"] == "MovingTraffic";
    let status = role.status("tracing", moves).await;
    assert_eq!(status["route"], "Direct", "traffic is still on its way");
    assert_eq!(status["tail"]["policies"], 0);
    let address = async || {
        let services = namespace.api::<Service>();
        services.get("tracing-decide").await.unwrap().metadata.uid
    };
    let before = address().await;

    // Back at once: services lead to Jaeger, and the Collector hands on what it holds.
    role.apply("tracing", json!({"route": "Direct"})).await;
    role.leads_to("jaeger").await;
    let status = role.status("tracing", moves).await;
    assert_eq!(status["route"], "Collector");
    assert!(role.there::<Deployment>("tracing-gather").await);
    assert!(role.there::<Deployment>("tracing-decide").await);
    let patience = Duration::from_secs(60);
    eventually(
        "the Collector goes when nothing is in it",
        patience,
        async || {
            let stack = role.stacks().get("tracing").await.unwrap();
            let is_gone = !role.there::<Deployment>("tracing-gather").await;
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
        "pods look its address up once, and keep it"
    );
    role.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tail_rules_are_in_the_status_once_the_deciding_pods_have_them() {
    let test = "tail_rules_are_in_the_status_once_the_deciding_pods_have_them";
    let Some(server) = apiserver::shared(test).await else {
        return;
    };
    let namespace = server.namespace("spoor-tail").await;
    let role = Stacks::start(&namespace).await;
    role.apply("tracing", json!({})).await;
    until("the Collector", async || {
        role.there::<Deployment>("tracing-decide").await
    })
    .await;
    role.run_pods().await;
    let status = role.status("tracing", is_settled).await;
    let before = status["tail"]["digest"].clone();
    let policy = json!({
        "apiVersion": "spoor.dev/v1alpha1",
        "kind": "SamplingPolicy",
        "metadata": {"name": "errors"},
        "spec": {
            "targets": [{"service": "a"}],
            "tail": {"keep": [{"name": "errors", "error": {}}], "otherwise": "10%"},
        },
    });
    namespace.apply(policy).await.unwrap();
    let deployments = namespace.api::<Deployment>();
    let patience = Duration::from_secs(60);
    eventually("the deciding pods are to have them", patience, async || {
        let decide = deployments.get("tracing-decide").await.unwrap();
        let annotations = decide.spec.unwrap().template.metadata.unwrap().annotations;
        match annotations
            .unwrap_or_default()
            .get("spoor.dev/tail-policies")
        {
            Some(count) if count == "1" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    let stack = role.stacks().get("tracing").await.unwrap();
    assert_eq!(
        stack.data["status"]["tail"]["digest"], before,
        "none has them yet"
    );
    role.run_pods().await;
    let status = role
        .status("tracing", |status| status["tail"]["policies"] == 1)
        .await;
    assert_ne!(status["tail"]["digest"], before);
    role.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_made_renewed_and_published() {
    let test = "certificates_are_made_renewed_and_published";
    let Some(server) = apiserver::shared(test).await else {
        return;
    };
    let namespace = server.namespace("spoor-certificates").await;
    let role = Stacks::start_with(&namespace, |settings| {
        settings.lives.doors = Duration::from_secs(6);
    })
    .await;
    role.apply("tracing", json!({})).await;
    let secrets = namespace.api::<Secret>();
    let data = async |name: &str, key: &str| -> Option<Vec<u8>> {
        let secret = secrets.get_opt(name).await.unwrap()?;
        Some(secret.data?.get(key)?.0.clone())
    };
    until("both Secrets", async || {
        data("spoor-ca", "ca.crt").await.is_some()
            && data("spoor-doors-tls", "tls.key").await.is_some()
    })
    .await;
    let authority = data("spoor-ca", "ca.crt").await;
    until("the authority beside the stack", async || {
        let map = namespace
            .api::<ConfigMap>()
            .get_opt("tracing-ca")
            .await
            .unwrap();
        let text = map.and_then(|map| map.data?.remove("ca.crt"));
        text.map(String::into_bytes) == authority
    })
    .await;
    let first = data("spoor-doors-tls", "tls.crt").await;
    until(
        "another certificate after two thirds of its life",
        async || data("spoor-doors-tls", "tls.crt").await != first,
    )
    .await;
    assert_eq!(data("spoor-ca", "ca.crt").await, authority);
    role.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_secrets_are_made_anew() {
    let Some(server) = apiserver::shared("deleted_secrets_are_made_anew").await else {
        return;
    };
    let namespace = server.namespace("spoor-deleted").await;
    let role = Stacks::start(&namespace).await;
    role.apply("tracing", json!({})).await;
    let authority = async || -> Option<String> {
        let maps = namespace.api::<ConfigMap>();
        let map = maps.get_opt("tracing-ca").await.unwrap()?;
        map.data?.remove("ca.crt")
    };
    until("the authority beside the stack", async || {
        authority().await.is_some()
    })
    .await;
    let before = authority().await;
    let secrets = namespace.api::<Secret>();
    for name in ["spoor-ca", "spoor-doors-tls"] {
        secrets
            .delete(name, &DeleteParams::default())
            .await
            .unwrap();
    }
    for name in ["spoor-ca", "spoor-doors-tls"] {
        until("the Secret is there again", async || {
            secrets.get_opt(name).await.unwrap().is_some()
        })
        .await;
    }
    until("clients are told the new authority", async || {
        authority().await != before
    })
    .await;
    role.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn certificate_problem_is_reported_on_stacks() {
    let test = "certificate_problem_is_reported_on_stacks";
    let Some(server) = apiserver::shared(test).await else {
        return;
    };
    let namespace = server.namespace("spoor-foreign").await;
    chart::account(&namespace, "stacks").await;
    let secrets = namespace.api::<Secret>();
    let foreign = json!({"stringData": {"ca.crt": "theirs", "ca.key": "theirs"}});
    let create = json!({"metadata": {"name": "spoor-ca"}, "stringData": foreign["stringData"]});
    match secrets.get_opt("spoor-ca").await.unwrap() {
        Some(_) => {
            let patch = Patch::Merge(foreign);
            let parameters = PatchParams::default();
            secrets
                .patch("spoor-ca", &parameters, &patch)
                .await
                .unwrap();
        }
        None => {
            let create = serde_json::from_value(create).unwrap();
            secrets.create(&Default::default(), &create).await.unwrap();
        }
    }
    let role = Stacks::start(&namespace).await;
    role.apply("tracing", json!({})).await;
    let status = role
        .status("tracing", |status| is(status, "Degraded", "True"))
        .await;
    let degraded = condition(&status, "Degraded");
    assert_eq!(degraded["reason"], "CertificateFailed");
    let message = degraded["message"].as_str().unwrap();
    assert!(message.contains("Secret \"spoor-ca\""), "{message}");
    let unready = role.ops("readyz").await;
    assert!(unready.contains("Secret \"spoor-ca\""), "{unready}");

    let deleted = secrets.delete("spoor-ca", &DeleteParams::default()).await;
    deleted.unwrap();
    role.status("tracing", |status| is(status, "Degraded", "False"))
        .await;
    until("it is ready", async || role.ops("readyz").await == "ok\n").await;
    role.stop().await;
}
