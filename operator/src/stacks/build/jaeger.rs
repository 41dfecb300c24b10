//! Jaeger: its configuration, Deployment, Services and what protects them.

pub mod config;
pub mod storage;

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
        core::v1::{
            ConfigMap, Container, ContainerPort, EnvVar, EnvVarSource, PersistentVolumeClaim,
            PersistentVolumeClaimSpec, PodTemplateSpec, ResourceFieldSelector, Service,
            ServicePort, ServiceSpec, VolumeMount, VolumeResourceRequirements,
        },
        policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    },
    apimachinery::pkg::{api::resource::Quantity, util::intstr::IntOrString},
};
use spoor_api::stack::{ManagedJaeger, Stack, Storage};

use self::storage::Needs;
use crate::stacks::objects::{
    Object,
    labels::{self, Component, component_metadata, label_selector, selector},
    otlp::{OTLP_GRPC, OTLP_HTTP},
    pod::{self, DefaultResources, PodDefaults},
    text,
};

/// The port of Jaeger's page and its query API over HTTP.
pub const HTTP_QUERY: u16 = 16686;
/// The port of Jaeger's query API over gRPC.
pub const GRPC_QUERY: u16 = 16685;
/// The port of probes.
pub const HEALTH: u16 = 13133;
/// The port of Jaeger's own metrics.
pub const METRICS: u16 = 8888;

const CONFIG_FILE: &str = "config.yaml";
const CONFIG_FOLDER: &str = "/etc/jaeger/config";

/// The seconds before SIGTERM, longer than Services take to forget a pod.
const PRE_STOP_SECONDS: i64 = 5;

const IN_MEMORY: DefaultResources = DefaultResources {
    requests: [("cpu", "50m"), ("memory", "128Mi")],
    limits: [("memory", "1Gi")],
};
const STORED: DefaultResources = DefaultResources {
    requests: [("cpu", "50m"), ("memory", "128Mi")],
    limits: [("memory", "512Mi")],
};

/// The name of Jaeger's objects.
#[must_use]
pub fn name(stack: &Stack) -> String {
    format!("{}-jaeger", stack.name)
}

/// The name of the query Service.
#[must_use]
pub fn query_name(stack: &Stack) -> String {
    format!("{}-query", stack.name)
}

/// Builds Jaeger's objects, except its NetworkPolicy.
#[must_use]
pub fn objects(stack: &Stack, jaeger: &ManagedJaeger, pods: &PodDefaults) -> Vec<Object> {
    let needs = storage::needs(stack, &jaeger.storage);
    let config = config::yaml(jaeger, &needs);
    let mut objects = vec![
        Object::of(&config_map(stack, &config)),
        Object::of(&service(stack)),
        Object::of(&query_service(stack)),
        Object::of(&deployment(stack, jaeger, needs, &config, pods)),
    ];
    objects.extend(claim(stack, &jaeger.storage).map(|claim| Object::of(&claim)));
    objects.extend(disruption_budget(stack, jaeger).map(|budget| Object::of(&budget)));
    objects
}

/// Names the ConfigMap after its content, so that pods of an older revision that start again find
/// theirs.
fn config_name(stack: &Stack, config: &str) -> String {
    format!("{}-{}", name(stack), text::hash(config))
}

fn config_map(stack: &Stack, config: &str) -> ConfigMap {
    ConfigMap {
        metadata: component_metadata(stack, Component::Jaeger, config_name(stack, config)),
        data: Some(BTreeMap::from([(
            CONFIG_FILE.to_owned(),
            config.to_owned(),
        )])),
        // The kubelet does not have to watch an immutable ConfigMap.
        immutable: Some(true),
        ..ConfigMap::default()
    }
}

fn service(stack: &Stack) -> Service {
    let ports = [("otlp-grpc", OTLP_GRPC), ("otlp-http", OTLP_HTTP)];
    cluster_ip(stack, name(stack), &ports)
}

fn query_service(stack: &Stack) -> Service {
    let ports = [("http-query", HTTP_QUERY), ("grpc-query", GRPC_QUERY)];
    cluster_ip(stack, query_name(stack), &ports)
}

fn cluster_ip(stack: &Stack, name: String, ports: &[(&str, u16)]) -> Service {
    let ports = ports.iter().map(|(name, port)| ServicePort {
        name: Some((*name).to_owned()),
        port: i32::from(*port),
        protocol: Some("TCP".to_owned()),
        target_port: Some(IntOrString::Int(i32::from(*port))),
        ..ServicePort::default()
    });
    Service {
        metadata: component_metadata(stack, Component::Jaeger, name),
        spec: Some(ServiceSpec {
            selector: Some(selector(stack, Component::Jaeger)),
            ports: Some(ports.collect()),
            type_: Some("ClusterIP".to_owned()),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

fn deployment(
    stack: &Stack,
    jaeger: &ManagedJaeger,
    needs: Needs,
    config: &str,
    pods: &PodDefaults,
) -> Deployment {
    let (mut container, volumes) = container(jaeger, needs, &config_name(stack, config));
    container.image = Some(pods.image(&jaeger.image, ManagedJaeger::DEFAULT_IMAGE));
    let selector = label_selector(stack, Component::Jaeger);
    Deployment {
        metadata: component_metadata(stack, Component::Jaeger, name(stack)),
        spec: Some(DeploymentSpec {
            replicas: Some(jaeger.replicas().into()),
            selector: selector.clone(),
            strategy: Some(strategy(&jaeger.storage)),
            // Rollbacks are changes of the stack, so few old ReplicaSets are needed.
            revision_history_limit: Some(3),
            progress_deadline_seconds: Some(180),
            template: PodTemplateSpec {
                metadata: Some(pod::metadata(
                    &jaeger.pod.additions,
                    labels::selector(stack, Component::Jaeger),
                    BTreeMap::new(),
                )),
                spec: Some(pod::spec(container, volumes, &jaeger.pod, &selector, pods)),
            },
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    }
}

/// A Badger volume serves one pod at a time; everything else is replaced without a gap.
fn strategy(storage: &Storage) -> DeploymentStrategy {
    match storage {
        Storage::Badger { .. } => DeploymentStrategy {
            type_: Some("Recreate".to_owned()),
            rolling_update: None,
        },
        Storage::Memory { .. } | Storage::External { .. } => DeploymentStrategy {
            type_: Some("RollingUpdate".to_owned()),
            rolling_update: Some(RollingUpdateDeployment {
                max_surge: Some(IntOrString::Int(1)),
                max_unavailable: Some(IntOrString::Int(0)),
            }),
        },
    }
}

fn container(
    jaeger: &ManagedJaeger,
    needs: Needs,
    config_name: &str,
) -> (Container, Vec<k8s_openapi::api::core::v1::Volume>) {
    let Needs {
        env,
        mut volumes,
        mut mounts,
        ..
    } = needs;
    volumes.insert(0, pod::config_volume("config", config_name));
    mounts.insert(
        0,
        VolumeMount {
            name: "config".to_owned(),
            mount_path: CONFIG_FOLDER.to_owned(),
            read_only: Some(true),
            ..VolumeMount::default()
        },
    );
    let default = match jaeger.storage {
        Storage::Memory { .. } => &IN_MEMORY,
        Storage::Badger { .. } | Storage::External { .. } => &STORED,
    };
    let container = Container {
        name: "jaeger".to_owned(),
        image_pull_policy: Some(jaeger.image_pull_policy.as_str().to_owned()),
        args: Some(vec![format!("--config={CONFIG_FOLDER}/{CONFIG_FILE}")]),
        env: Some([vec![memory_limit()], env].concat()),
        ports: Some(container_ports()),
        resources: Some(pod::resources(&jaeger.pod.resources, default)),
        volume_mounts: Some(mounts),
        startup_probe: Some(pod::http_probe("/status", HEALTH, 1, 120)),
        readiness_probe: Some(pod::http_probe("/status", HEALTH, 5, 2)),
        liveness_probe: Some(pod::http_probe("/status", HEALTH, 10, 6)),
        // With Badger no other pod takes over, and the next one waits for the volume, so a delay
        // only makes the gap longer.
        lifecycle: (!matches!(jaeger.storage, Storage::Badger { .. }))
            .then(|| pod::pre_stop_delay(PRE_STOP_SECONDS)),
        ..Container::default()
    };
    (container, volumes)
}

/// The variable by which Go's garbage collector knows the memory limit.
fn memory_limit() -> EnvVar {
    // From the container's own limit, so that it also holds where the stack or a LimitRange sets it.
    EnvVar {
        name: "GOMEMLIMIT".to_owned(),
        value_from: Some(EnvVarSource {
            resource_field_ref: Some(ResourceFieldSelector {
                resource: "limits.memory".to_owned(),
                ..ResourceFieldSelector::default()
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    }
}

fn container_ports() -> Vec<ContainerPort> {
    let ports = [
        ("otlp-grpc", OTLP_GRPC),
        ("otlp-http", OTLP_HTTP),
        ("http-query", HTTP_QUERY),
        ("grpc-query", GRPC_QUERY),
        ("health", HEALTH),
        ("metrics", METRICS),
    ];
    let ports = ports.into_iter().map(|(name, port)| ContainerPort {
        name: Some(name.to_owned()),
        container_port: i32::from(port),
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    });
    ports.collect()
}

fn claim(stack: &Stack, storage: &Storage) -> Option<PersistentVolumeClaim> {
    let Storage::Badger {
        size,
        storage_class_name,
        ..
    } = storage
    else {
        return None;
    };
    Some(PersistentVolumeClaim {
        metadata: component_metadata(stack, Component::Jaeger, name(stack)),
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            storage_class_name: storage_class_name.as_ref().map(ToString::to_string),
            resources: Some(VolumeResourceRequirements {
                requests: Some(BTreeMap::from([(
                    "storage".to_owned(),
                    Quantity(size.to_string()),
                )])),
                limits: None,
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    })
}

/// Lets one pod be evicted at a time where there are several.
fn disruption_budget(stack: &Stack, jaeger: &ManagedJaeger) -> Option<PodDisruptionBudget> {
    (jaeger.replicas() > 1).then(|| PodDisruptionBudget {
        metadata: component_metadata(stack, Component::Jaeger, name(stack)),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(label_selector(stack, Component::Jaeger)),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    })
}
