//! Jaeger: its configuration, Deployment, Services, volume claim and disruption budget.

pub mod config;
pub mod storage;

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy},
        core::v1::{
            ConfigMap, Container, EnvVar, EnvVarSource, PersistentVolumeClaim,
            PersistentVolumeClaimSpec, PodTemplateSpec, ResourceFieldSelector, Service,
            ServiceSpec, VolumeResourceRequirements,
        },
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::ObjectMeta},
};
use spoor_api::stack::{ManagedJaeger, Stack, Storage};

use self::storage::StorageParts;
use crate::{
    kubernetes::apply::Manifest,
    stacks::objects::{
        labels::{self, Component, component_metadata, label_selector, selector},
        network::service_port,
        otlp::{OTLP_GRPC_PORT, OTLP_HTTP_PORT},
        pod::{self, PodDefaults},
        workload::{
            CONFIG_FILE, config_map, container_ports, disruption_budget, read_only_mount,
            rolling_update,
        },
    },
};

/// The port of Jaeger's UI and its query API over HTTP.
pub const QUERY_PORT: u16 = 16686;
/// The port of Jaeger's query API over gRPC.
pub const GRPC_QUERY_PORT: u16 = 16685;
/// The port of probes.
pub const HEALTH_PORT: u16 = 13133;
/// The port of Jaeger's own metrics.
pub const METRICS_PORT: u16 = 8888;

/// The ports of a pod, by name.
const PORTS: [(&str, u16); 6] = [
    ("otlp-grpc", OTLP_GRPC_PORT),
    ("otlp-http", OTLP_HTTP_PORT),
    ("http-query", QUERY_PORT),
    ("grpc-query", GRPC_QUERY_PORT),
    ("health", HEALTH_PORT),
    ("metrics", METRICS_PORT),
];
const CONFIG_FOLDER: &str = "/etc/jaeger/config";

/// The delay before SIGTERM, longer than Services take to remove a pod.
const PRE_STOP_SECONDS: i64 = 5;

/// The name of the query Service.
#[must_use]
pub fn query_name(stack: &Stack) -> String {
    format!("{}-query", stack.name)
}

/// Builds Jaeger's objects, except its NetworkPolicy.
#[must_use]
pub fn objects(stack: &Stack, jaeger: &ManagedJaeger, pods: &PodDefaults) -> Vec<Manifest> {
    let parts = storage::parts(stack, &jaeger.storage);
    let config = config::yaml(jaeger, &parts);
    let config = config_map(stack, Component::Jaeger, &config);
    let otlp = [("otlp-grpc", OTLP_GRPC_PORT), ("otlp-http", OTLP_HTTP_PORT)];
    let query = [("http-query", QUERY_PORT), ("grpc-query", GRPC_QUERY_PORT)];
    let mut objects = vec![
        Manifest::of(&config),
        Manifest::of(&service(stack, Component::Jaeger.name_in(stack), &otlp)),
        Manifest::of(&service(stack, query_name(stack), &query)),
        Manifest::of(&deployment(stack, jaeger, parts, &config, pods)),
    ];
    let claim = volume_claim(stack, &jaeger.storage);
    objects.extend(claim.iter().map(Manifest::of));
    let replicas = jaeger.storage.replicas().into();
    let budget = disruption_budget(stack, Component::Jaeger, replicas);
    objects.extend(budget.iter().map(Manifest::of));
    objects
}

fn service(stack: &Stack, name: String, ports: &[(&str, u16)]) -> Service {
    let ports = ports.iter();
    let ports = ports.map(|(name, port)| service_port(name, *port, *port));
    Service {
        metadata: ObjectMeta {
            name: Some(name),
            ..component_metadata(stack, Component::Jaeger)
        },
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
    parts: StorageParts,
    config: &ConfigMap,
    pods: &PodDefaults,
) -> Deployment {
    let (mut container, volumes) = container(jaeger, parts, config);
    container.image = Some(pods.image(&jaeger.image, ManagedJaeger::DEFAULT_IMAGE));
    let selector = label_selector(stack, Component::Jaeger);
    Deployment {
        metadata: component_metadata(stack, Component::Jaeger),
        spec: Some(DeploymentSpec {
            replicas: Some(jaeger.storage.replicas().into()),
            selector: selector.clone(),
            strategy: Some(strategy(&jaeger.storage)),
            // A rollback is a change to the stack, so few old ReplicaSets are needed.
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
        Storage::Memory { .. } | Storage::External { .. } => rolling_update(),
    }
}

fn container(
    jaeger: &ManagedJaeger,
    parts: StorageParts,
    config: &ConfigMap,
) -> (Container, Vec<k8s_openapi::api::core::v1::Volume>) {
    let config = pod::config_volume("config", config);
    let volumes = [vec![config], parts.volumes].concat();
    let mount = read_only_mount("config", CONFIG_FOLDER);
    let memory_limit = match jaeger.storage {
        Storage::Memory { .. } => "1Gi",
        Storage::Badger { .. } | Storage::External { .. } => "512Mi",
    };
    let container = Container {
        name: "jaeger".to_owned(),
        image_pull_policy: Some(jaeger.image_pull_policy.to_string()),
        args: Some(vec![format!("--config={CONFIG_FOLDER}/{CONFIG_FILE}")]),
        env: Some([vec![gomemlimit()], parts.env].concat()),
        ports: Some(container_ports(&PORTS)),
        resources: Some(pod::resources(&jaeger.pod.resources, memory_limit)),
        volume_mounts: Some([vec![mount], parts.mounts].concat()),
        startup_probe: Some(pod::http_probe("/status", HEALTH_PORT, 1, 120)),
        readiness_probe: Some(pod::http_probe("/status", HEALTH_PORT, 5, 2)),
        liveness_probe: Some(pod::http_probe("/status", HEALTH_PORT, 10, 6)),
        // With Badger no other pod takes over, and the next one waits for the volume, so a delay
        // only makes the gap longer.
        lifecycle: (!matches!(jaeger.storage, Storage::Badger { .. }))
            .then(|| pod::pre_stop_delay(PRE_STOP_SECONDS)),
        ..Container::default()
    };
    (container, volumes)
}

/// The variable from which Go's garbage collector reads the memory limit.
fn gomemlimit() -> EnvVar {
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

fn volume_claim(stack: &Stack, storage: &Storage) -> Option<PersistentVolumeClaim> {
    let Storage::Badger {
        size,
        storage_class_name,
        ..
    } = storage
    else {
        return None;
    };
    let request = ("storage".to_owned(), Quantity(size.to_string()));
    Some(PersistentVolumeClaim {
        metadata: component_metadata(stack, Component::Jaeger),
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            storage_class_name: storage_class_name.as_ref().map(ToString::to_string),
            resources: Some(VolumeResourceRequirements {
                requests: Some(BTreeMap::from([request])),
                limits: None,
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    })
}
