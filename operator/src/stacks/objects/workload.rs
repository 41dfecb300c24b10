//! The parts that the Deployments of all components have in common, and the objects that accompany
//! them.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{DeploymentStrategy, RollingUpdateDeployment},
        core::v1::{ConfigMap, ContainerPort, VolumeMount},
        policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    },
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};
use spoor_api::stack::Stack;

use super::{
    labels::{Component, component_metadata, label_selector},
    text,
};

/// The file with a component's configuration, in the folder where it is mounted.
pub const CONFIG_FILE: &str = "config.yaml";

/// The ConfigMap with a component's configuration. It is named after its content, so that pods of
/// an older revision that start again find theirs.
#[must_use]
pub fn config_map(stack: &Stack, component: Component, config: &str) -> ConfigMap {
    let name = format!("{}-{}", component.name_in(stack), text::hash(config));
    let file = (CONFIG_FILE.to_owned(), config.to_owned());
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(name),
            ..component_metadata(stack, component)
        },
        data: Some(BTreeMap::from([file])),
        // The kubelet does not have to watch an immutable ConfigMap.
        immutable: Some(true),
        ..ConfigMap::default()
    }
}

/// The mount of a volume that the container only reads.
#[must_use]
pub fn read_only_mount(volume: &str, path: &str) -> VolumeMount {
    VolumeMount {
        name: volume.to_owned(),
        mount_path: path.to_owned(),
        read_only: Some(true),
        ..VolumeMount::default()
    }
}

/// The ports of a container, by name.
#[must_use]
pub fn container_ports(ports: &[(&str, u16)]) -> Vec<ContainerPort> {
    let ports = ports.iter().map(|(name, port)| ContainerPort {
        name: Some((*name).to_owned()),
        container_port: i32::from(*port),
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    });
    ports.collect()
}

/// Replaces pods without a gap: the new pod is ready before the old one ends.
#[must_use]
pub fn rolling_update() -> DeploymentStrategy {
    DeploymentStrategy {
        type_: Some("RollingUpdate".to_owned()),
        rolling_update: Some(RollingUpdateDeployment {
            max_surge: Some(IntOrString::Int(1)),
            max_unavailable: Some(IntOrString::Int(0)),
        }),
    }
}

/// Lets one pod be evicted at a time where there are several.
#[must_use]
pub fn disruption_budget(
    stack: &Stack,
    component: Component,
    replicas: i32,
) -> Option<PodDisruptionBudget> {
    (replicas > 1).then(|| PodDisruptionBudget {
        metadata: component_metadata(stack, component),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(label_selector(stack, component)),
            ..PodDisruptionBudgetSpec::default()
        }),
        status: None,
    })
}
