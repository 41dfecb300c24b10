//! The pods of a tier.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::{
    apps::v1::{Deployment, DeploymentSpec},
    core::v1::{
        ConfigMap, Container, EnvFromSource, EnvVar, PodSpec, PodTemplateSpec,
        ResourceRequirements, SecretEnvSource,
    },
};
use serde::Serialize;
use spoor_api::stack::ManagedCollector;

use super::{CollectorInput, Tier, memory, ports};
use crate::stacks::objects::{
    labels::{Component, component_metadata, label_selector, selector},
    pod, text,
    workload::{CONFIG_FILE, config_map, container_ports, read_only_mount, rolling_update},
};

/// The annotation of a Deployment with a hash of its spec.
pub const SPEC_HASH: &str = "spoor.dev/spec-hash";

const CONFIG_FOLDER: &str = "/etc/spoor/collector";
/// The time that a Collector has to send what it holds.
const FLUSH_TIME: Duration = Duration::from_secs(30);

const DEFAULT_MEMORY_LIMIT: &str = "512Mi";

/// The inputs of a tier's pods.
pub(super) struct Pods<'a> {
    pub(super) input: &'a CollectorInput<'a>,
    pub(super) component: Component,
    pub(super) config: String,
    pub(super) replicas: i32,
    /// The ports, by name.
    pub(super) ports: &'static [(&'static str, u16)],
    pub(super) feature_gates: Option<&'static str>,
    /// The time for which a pod continues after its deletion, before it gets SIGTERM.
    pub(super) drain_time: Duration,
    /// The annotations of the pods.
    pub(super) annotations: BTreeMap<String, String>,
}

impl Pods<'_> {
    pub(super) fn build(self) -> Tier {
        let config = config_map(self.input.stack, self.component, &self.config);
        let mut workload = self.deployment(&config);
        let hash = hash(&workload.spec);
        workload.metadata.annotations = Some(BTreeMap::from([(SPEC_HASH.to_owned(), hash)]));
        Tier { config, workload }
    }

    fn deployment(&self, config: &ConfigMap) -> Deployment {
        Deployment {
            metadata: component_metadata(self.input.stack, self.component),
            spec: Some(DeploymentSpec {
                replicas: Some(self.replicas),
                selector: label_selector(self.input.stack, self.component),
                strategy: Some(rolling_update()),
                revision_history_limit: Some(2),
                template: PodTemplateSpec {
                    metadata: Some(pod::metadata(
                        &self.input.collector.pod.additions,
                        selector(self.input.stack, self.component),
                        self.annotations.clone(),
                    )),
                    spec: Some(self.pod(config)),
                },
                ..DeploymentSpec::default()
            }),
            status: None,
        }
    }

    fn pod(&self, config: &ConfigMap) -> PodSpec {
        let volumes = vec![pod::config_volume("config", config)];
        let selector = label_selector(self.input.stack, self.component);
        let (settings, defaults) = (&self.input.collector.pod, self.input.pods);
        PodSpec {
            // The preStop hook counts towards the grace period.
            termination_grace_period_seconds: Some(seconds(self.drain_time + FLUSH_TIME)),
            ..pod::spec(self.container(), volumes, settings, &selector, defaults)
        }
    }

    fn container(&self) -> Container {
        let collector = self.input.collector;
        let pods = self.input.pods;
        let image = pods.image(&collector.image, ManagedCollector::DEFAULT_IMAGE);
        let gates = self.feature_gates;
        let gates = gates.map(|gates| format!("--feature-gates={gates}"));
        let config = format!("--config={CONFIG_FOLDER}/{CONFIG_FILE}");
        let secrets = collector.env_from_secrets.iter();
        let env_from = secrets.map(|name| env_from(name.as_str()));
        Container {
            name: "collector".to_owned(),
            image: Some(image),
            image_pull_policy: Some(collector.image_pull_policy.to_string()),
            args: Some(std::iter::once(config).chain(gates).collect()),
            env: Some(vec![EnvVar {
                name: "GOMEMLIMIT".to_owned(),
                value: Some(memory(collector).gomemlimit()),
                ..EnvVar::default()
            }]),
            env_from: pod::non_empty(env_from),
            ports: Some(container_ports(self.ports)),
            resources: Some(resources(collector)),
            readiness_probe: Some(pod::http_probe("/", ports::HEALTH, 2, 3)),
            liveness_probe: Some(pod::http_probe("/", ports::HEALTH, 10, 6)),
            lifecycle: Some(pod::pre_stop_delay(seconds(self.drain_time))),
            volume_mounts: Some(vec![read_only_mount("config", CONFIG_FOLDER)]),
            ..Container::default()
        }
    }
}

/// The resources of a pod of either tier.
pub(super) fn resources(collector: &ManagedCollector) -> ResourceRequirements {
    pod::resources(&collector.pod.resources, DEFAULT_MEMORY_LIMIT)
}

/// A hash of a value's JSON.
pub(super) fn hash(value: &impl Serialize) -> String {
    // Kubernetes' types are maps of strings and numbers, so encoding them as JSON cannot fail.
    text::hash(&serde_json::to_string(value).unwrap_or_default())
}

fn env_from(secret: &str) -> EnvFromSource {
    EnvFromSource {
        secret_ref: Some(SecretEnvSource {
            name: secret.to_owned(),
            ..SecretEnvSource::default()
        }),
        ..EnvFromSource::default()
    }
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis().div_ceil(1000)).unwrap_or(i64::MAX)
}
