//! What every pod has: the restricted Pod Security Standard, resources, a place to run.

use std::{collections::BTreeMap, fmt::Display};

use k8s_openapi::{
    api::core::v1::{
        Affinity, Capabilities, ConfigMapVolumeSource, Container, HTTPGetAction, Lifecycle,
        LifecycleHandler, PodAffinityTerm, PodAntiAffinity, PodSecurityContext, PodSpec, Probe,
        ResourceRequirements, SeccompProfile, SecurityContext, SleepAction, Toleration,
        TopologySpreadConstraint, Volume, WeightedPodAffinityTerm,
    },
    apimachinery::pkg::{
        api::resource::Quantity, apis::meta::v1::LabelSelector, util::intstr::IntOrString,
    },
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use spoor_api::stack::{Resources, Scheduling};

/// As whom Jaeger and the Collector run in their own images.
const USER: i64 = 10001;

/// What a component may use unless the stack says otherwise.
pub struct DefaultResources {
    /// What is set aside.
    pub requests: [(&'static str, &'static str); 2],
    /// What it may use at most. No limit of the processor: it would only make it slow.
    pub limits: [(&'static str, &'static str); 1],
}

/// A pod of one container where the stack wants it to run.
#[must_use]
pub fn spec(
    container: Container,
    volumes: Vec<Volume>,
    scheduling: &Scheduling,
    spread: &LabelSelector,
) -> PodSpec {
    PodSpec {
        containers: vec![Container {
            security_context: Some(container_security()),
            // The stack's status tells why a program ended, without the right to read logs.
            termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
            ..container
        }],
        volumes: (!volumes.is_empty()).then_some(volumes),
        security_context: Some(pod_security()),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        node_selector: non_empty(&scheduling.node_selector),
        tolerations: tolerations(scheduling),
        affinity: Some(scheduling.affinity.as_ref().map_or_else(
            || different_nodes(spread),
            |affinity| as_written(&affinity.0),
        )),
        topology_spread_constraints: constraints(scheduling),
        priority_class_name: scheduling.priority_class_name.clone(),
        ..PodSpec::default()
    }
}

/// The stack's resources; the defaults for what it names neither in `requests` nor in `limits`.
#[must_use]
pub fn resources(asked: &Resources, default: &DefaultResources) -> ResourceRequirements {
    let named = |name: &str| asked.requests.contains_key(name) || asked.limits.contains_key(name);
    let merged = |asked: &BTreeMap<String, spoor_api::stack::Quantity>,
                  default: &[(&str, &str)]| {
        let default = default
            .iter()
            .filter(|(name, _)| !named(name))
            .map(|(name, amount)| ((*name).to_owned(), Quantity((*amount).to_owned())));
        let asked = asked
            .iter()
            .map(|(name, amount)| (name.clone(), Quantity(amount.to_string())));
        Some(default.chain(asked).collect::<BTreeMap<_, _>>()).filter(|all| !all.is_empty())
    };
    ResourceRequirements {
        requests: merged(&asked.requests, &default.requests),
        limits: merged(&asked.limits, &default.limits),
        claims: None,
    }
}

/// Waits before a pod that ends is told so, until Services no longer lead to it.
#[must_use]
pub fn leave_services_first(seconds: i64) -> Lifecycle {
    Lifecycle {
        pre_stop: Some(LifecycleHandler {
            sleep: Some(SleepAction { seconds }),
            ..LifecycleHandler::default()
        }),
        ..Lifecycle::default()
    }
}

/// Asks over HTTP.
#[must_use]
pub fn http_probe(path: &str, port: i32, period_seconds: i32, failure_threshold: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::Int(port),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period_seconds),
        timeout_seconds: Some(3),
        failure_threshold: Some(failure_threshold),
        ..Probe::default()
    }
}

/// A volume with a ConfigMap's files.
#[must_use]
pub fn config_volume(name: &str, config_map: impl Display) -> Volume {
    Volume {
        name: name.to_owned(),
        config_map: Some(ConfigMapVolumeSource {
            name: config_map.to_string(),
            ..ConfigMapVolumeSource::default()
        }),
        ..Volume::default()
    }
}

fn pod_security() -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(USER),
        run_as_group: Some(USER),
        fs_group: Some(USER),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".to_owned(),
            ..SeccompProfile::default()
        }),
        ..PodSecurityContext::default()
    }
}

fn container_security() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities {
            drop: Some(vec!["ALL".to_owned()]),
            ..Capabilities::default()
        }),
        read_only_root_filesystem: Some(true),
        run_as_non_root: Some(true),
        ..SecurityContext::default()
    }
}

/// Replicas on different nodes where there are some.
fn different_nodes(spread: &LabelSelector) -> Affinity {
    Affinity {
        pod_anti_affinity: Some(PodAntiAffinity {
            preferred_during_scheduling_ignored_during_execution: Some(vec![
                WeightedPodAffinityTerm {
                    weight: 100,
                    pod_affinity_term: PodAffinityTerm {
                        label_selector: Some(spread.clone()),
                        topology_key: "kubernetes.io/hostname".to_owned(),
                        ..PodAffinityTerm::default()
                    },
                },
            ]),
            ..PodAntiAffinity::default()
        }),
        ..Affinity::default()
    }
}

fn tolerations(scheduling: &Scheduling) -> Option<Vec<Toleration>> {
    // They are Kubernetes' own, field by field.
    let all = scheduling.tolerations.iter().map(|toleration| {
        let fields = serde_json::to_value(toleration).unwrap_or_default();
        serde_json::from_value(fields).unwrap_or_default()
    });
    Some(all.collect::<Vec<_>>()).filter(|all| !all.is_empty())
}

fn constraints(scheduling: &Scheduling) -> Option<Vec<TopologySpreadConstraint>> {
    let all = scheduling.topology_spread_constraints.iter();
    Some(
        all.map(|constraint| as_written(&constraint.0))
            .collect::<Vec<_>>(),
    )
    .filter(|all| !all.is_empty())
}

/// What validation has read as `T` already; nothing where it could not.
fn as_written<T: DeserializeOwned + Default>(fields: &serde_json::Map<String, Value>) -> T {
    serde_json::from_value(Value::Object(fields.clone())).unwrap_or_default()
}

fn non_empty(map: &BTreeMap<String, String>) -> Option<BTreeMap<String, String>> {
    Some(map.clone()).filter(|map| !map.is_empty())
}
