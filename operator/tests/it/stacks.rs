//! The lifecycle of stacks, with a test in place of the cluster's controllers: specs change,
//! routes switch, tail rules come into force, certificates are renewed.

mod certificates;
mod concurrency;
mod objects;
mod route;
mod samplers;

use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    core::v1::{Pod, Service},
};
use kube::{
    Api, Client,
    api::{DynamicObject, ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use spoor_operator::{
    kubernetes::{resources::tracing_stacks, watch::WatchScope},
    role::RunningRole,
    settings::RoleSettings,
    stacks::{
        self, CertificateLifetimes, StacksSettings, build::PoliciesService,
        objects::pod::PodDefaults, sampler::SamplerImage,
    },
};
use tokio_util::sync::CancellationToken;

use crate::{
    apiserver::{Namespace, eventually},
    role::{MAX_WAIT, SHORT_TIMING, chart, sampling_policy::condition},
};

/// The role in the test's own process, for one namespace, as the chart's ServiceAccount.
pub struct Stacks<'a> {
    namespace: &'a Namespace<'a>,
    running: RunningRole,
    stop: CancellationToken,
}

impl<'a> Stacks<'a> {
    pub async fn start(namespace: &'a Namespace<'a>) -> Self {
        Self::start_with(namespace, |_| {}).await
    }

    pub async fn start_with(
        namespace: &'a Namespace<'a>,
        change: impl FnOnce(&mut StacksSettings),
    ) -> Self {
        let client = chart::account(namespace, "stacks").await;
        Self::start_as(client, namespace, change).await
    }

    /// Starts the role with this client.
    pub async fn start_as(
        client: Client,
        namespace: &'a Namespace<'a>,
        change: impl FnOnce(&mut StacksSettings),
    ) -> Self {
        let role = RoleSettings {
            namespace: namespace.name.clone(),
            identity: "stacks-0".to_owned(),
            pod: "stacks-0".to_owned(),
            installation: "spoor".to_owned(),
            scope: WatchScope::Only([namespace.name.clone()].into()),
            ops: ([127, 0, 0, 1], 0).into(),
            lease: "spoor-stacks".to_owned(),
            timing: SHORT_TIMING,
            claim_timing: SHORT_TIMING,
        };
        let mut settings = StacksSettings {
            role,
            policies_service: PoliciesService {
                name: "spoor-policies".to_owned(),
                namespace: namespace.name.clone(),
            },
            cluster_domain: "cluster.local".to_owned(),
            pods: PodDefaults::default(),
            sampler_image: SamplerImage {
                reference: "spoor:dev".to_owned(),
                pull_policy: "Never".to_owned(),
            },
            lifetimes: CertificateLifetimes::default(),
        };
        change(&mut settings);
        let stop = CancellationToken::new();
        let running = stacks::start(client, settings, stop.clone()).await.unwrap();
        Self {
            namespace,
            running,
            stop,
        }
    }

    /// The response of the ops port at this path.
    pub async fn ops(&self, path: &str) -> String {
        let url = format!("http://{}/{path}", self.running.ops);
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

    /// Applies a stack. If its spec chooses no sampler, the Collector itself decides: most of these
    /// tests are about its tiers.
    pub async fn apply(&self, name: &str, mut spec: Value) {
        if spec["sampler"].is_null() && spec["collector"]["existing"].is_null() {
            spec["sampler"] = json!({"engine": "OpenTelemetry"});
        }
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

    /// Waits for a status of the stack's latest generation.
    pub async fn wait_for_status(&self, name: &str, is_met: impl Fn(&Value) -> bool) -> Value {
        eventually("the expected status", MAX_WAIT, async || {
            let stack = self
                .stacks()
                .get(name)
                .await
                .map_err(|error| error.to_string())?;
            let status = stack.data["status"].clone();
            let is_current = status["observedGeneration"] == json!(stack.metadata.generation);
            match is_current && is_met(&status) {
                true => Ok(status),
                false => Err(format!("{status:#}")),
            }
        })
        .await
    }

    /// Stands in for the controllers and the kubelet: gives every Deployment and StatefulSet of the
    /// stack its pods, which are ready.
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
        let sets = self.namespace.api::<StatefulSet>();
        for set in sets.list(&ListParams::default()).await.unwrap() {
            let name = set.metadata.name.unwrap();
            let replicas = set.spec.unwrap().replicas;
            let status = json!({"status": {
                "observedGeneration": set.metadata.generation,
                "replicas": replicas,
                "updatedReplicas": replicas,
                "readyReplicas": replicas,
                "availableReplicas": replicas,
            }});
            let (parameters, status) = (PatchParams::default(), Patch::Merge(status));
            sets.patch_status(&name, &parameters, &status)
                .await
                .unwrap();
        }
    }

    pub async fn exists<K>(&self, name: &str) -> bool
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

    /// Waits until the sampler and the Collector around it exist.
    async fn wait_until_sampler_exists(&self) {
        until("the Collector and the sampler", async || {
            self.exists::<StatefulSet>("tracing-sampler").await
                && self.exists::<Deployment>("tracing-collector").await
        })
        .await;
    }

    /// Waits until the OTLP Service selects this component.
    async fn wait_until_route_is(&self, component: &str) {
        eventually("the Service selects the component", MAX_WAIT, async || {
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

/// Returns true if the condition of this type has this status.
pub fn has_condition(status: &Value, kind: &str, expected: &str) -> bool {
    condition(status, kind)["status"] == expected
}

fn is_settled(status: &Value) -> bool {
    has_condition(status, "Available", "True") && has_condition(status, "Progressing", "False")
}

/// Returns whether the condition `Progressing` has this reason.
fn has_reason(expected: &'static str) -> impl Fn(&Value) -> bool {
    move |status: &Value| condition(status, "Progressing")["reason"] == expected
}

/// Returns true if the new engine is ready, and the former one does not keep every trace yet.
fn waits_for_former_engine(status: &Value) -> bool {
    let progressing = condition(status, "Progressing");
    let message = progressing["message"].as_str().unwrap_or_default();
    message.starts_with("the new sampler is ready; traffic stays on the former one")
}

pub async fn until(what: &str, is_met: impl AsyncFn() -> bool) {
    eventually(what, MAX_WAIT, async || match is_met().await {
        true => Ok(()),
        false => Err("not yet".to_owned()),
    })
    .await;
}
