//! The parts that all pods of a stack have in common: the restricted Pod Security Standard,
//! resources, scheduling.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{
        Affinity, Capabilities, ConfigMap, ConfigMapVolumeSource, Container, EnvVar, HTTPGetAction,
        Lifecycle, LifecycleHandler, LocalObjectReference, PodAffinityTerm, PodAntiAffinity,
        PodSecurityContext, PodSpec, Probe, ResourceRequirements, SeccompProfile, SecurityContext,
        SleepAction, Toleration, TopologySpreadConstraint, Volume, WeightedPodAffinityTerm,
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};
use serde::{Serialize, de::DeserializeOwned};
use spoor_api::stack::{PodAdditions, PodSettings, Resources};

/// The user and group of Jaeger and the Collector in their images.
const IMAGE_USER_ID: i64 = 10001;
/// The requests of every component unless the stack sets others.
const DEFAULT_REQUESTS: [(&str, &str); 2] = [("cpu", "50m"), ("memory", "128Mi")];

/// Defaults for the pods of every stack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodDefaults {
    /// The registry of the default images. If unset, Docker Hub.
    pub image_registry: Option<String>,
    /// The user and groups of the pods.
    pub user_ids: UserIds,
}

/// The user and groups of pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UserIds {
    /// Those of the default images.
    #[default]
    Image,
    /// Those that the platform assigns, as OpenShift does.
    Assigned,
}

impl PodDefaults {
    /// The reference of an image, with the registry if it is the default image. An image that a
    /// stack names keeps its own registry.
    #[must_use]
    pub fn image(&self, image: &str, default: &str) -> String {
        match &self.image_registry {
            Some(registry) if image == default => format!("{registry}/{image}"),
            _ => image.to_owned(),
        }
    }
}

/// The spec of a pod with one container, scheduled as the stack specifies.
#[must_use]
pub fn spec(
    container: Container,
    volumes: Vec<Volume>,
    settings: &PodSettings,
    spread: &LabelSelector,
    defaults: &PodDefaults,
) -> PodSpec {
    let (scheduling, additions) = (&settings.scheduling, &settings.additions);
    let constraints = scheduling.topology_spread_constraints.iter();
    let constraints = constraints.map(parsed_as::<TopologySpreadConstraint>);
    let affinity = scheduling.affinity.as_ref();
    let pull_secrets = additions.image_pull_secrets.iter();
    let pull_secrets = pull_secrets.map(|name| LocalObjectReference { name: name.clone() });
    PodSpec {
        containers: vec![Container {
            env: env(container.env, additions),
            security_context: Some(container_security()),
            // Lets the stack's status report why a program ended: the operator has no permission to
            // read logs.
            termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
            ..container
        }],
        volumes: non_empty(volumes),
        image_pull_secrets: non_empty(pull_secrets),
        security_context: Some(pod_security(defaults.user_ids)),
        // No component calls the API server.
        automount_service_account_token: Some(false),
        // Otherwise every Service of the namespace would add variables to the environment.
        enable_service_links: Some(false),
        node_selector: non_empty(scheduling.node_selector.clone()),
        tolerations: non_empty(scheduling.tolerations.iter().map(parsed_as::<Toleration>)),
        affinity: Some(affinity.map_or_else(|| different_nodes(spread), parsed_as::<Affinity>)),
        topology_spread_constraints: non_empty(constraints),
        priority_class_name: scheduling.priority_class_name.clone(),
        ..PodSpec::default()
    }
}

/// The metadata of pods. These labels and annotations take precedence over the stack's.
#[must_use]
pub fn metadata(
    additions: &PodAdditions,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
) -> ObjectMeta {
    let merge = |added: &BTreeMap<String, String>, own: BTreeMap<String, String>| {
        let mut all = added.clone();
        all.extend(own);
        non_empty(all)
    };
    ObjectMeta {
        labels: merge(&additions.labels, labels),
        annotations: merge(&additions.annotations, annotations),
        ..ObjectMeta::default()
    }
}

/// The stack's resources, with the defaults for those that it sets neither in `requests` nor in
/// `limits`. There is no default limit for CPU, which would only slow the component down.
#[must_use]
pub fn resources(own: &Resources, default_memory_limit: &str) -> ResourceRequirements {
    let named = |name: &str| own.requests.contains_key(name) || own.limits.contains_key(name);
    let merged = |own: &BTreeMap<String, spoor_api::stack::Quantity>, default: &[(&str, &str)]| {
        let default = default.iter().filter(|(name, _)| !named(name));
        let default =
            default.map(|(name, amount)| ((*name).to_owned(), Quantity((*amount).to_owned())));
        let own = own.iter();
        let own = own.map(|(name, amount)| (name.clone(), Quantity(amount.to_string())));
        non_empty(default.chain(own))
    };
    ResourceRequirements {
        requests: merged(&own.requests, &DEFAULT_REQUESTS),
        limits: merged(&own.limits, &[("memory", default_memory_limit)]),
        claims: None,
    }
}

/// A hook that delays SIGTERM until Services no longer route to the pod.
#[must_use]
pub fn pre_stop_delay(seconds: i64) -> Lifecycle {
    Lifecycle {
        pre_stop: Some(LifecycleHandler {
            sleep: Some(SleepAction { seconds }),
            ..LifecycleHandler::default()
        }),
        ..Lifecycle::default()
    }
}

/// A probe over HTTP.
#[must_use]
pub fn http_probe(path: &str, port: u16, period_seconds: i32, failure_threshold: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::Int(i32::from(port)),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period_seconds),
        timeout_seconds: Some(3),
        failure_threshold: Some(failure_threshold),
        ..Probe::default()
    }
}

/// A volume with the files of a ConfigMap.
#[must_use]
pub fn config_volume(name: &str, config_map: &ConfigMap) -> Volume {
    Volume {
        name: name.to_owned(),
        config_map: Some(ConfigMapVolumeSource {
            name: config_map.metadata.name.clone().unwrap_or_default(),
            ..ConfigMapVolumeSource::default()
        }),
        ..Volume::default()
    }
}

/// Merges environment variables by name: server-side apply requires unique names in this list.
fn env(own: Option<Vec<EnvVar>>, additions: &PodAdditions) -> Option<Vec<EnvVar>> {
    let is_added = |name: &str| additions.env.iter().any(|added| added.name == name);
    let own = own.into_iter().flatten();
    let own = own.filter(|variable| !is_added(&variable.name));
    let added = additions.env.iter().map(|added| EnvVar {
        name: added.name.clone(),
        value: Some(added.value.clone()),
        ..EnvVar::default()
    });
    non_empty(own.chain(added))
}

fn pod_security(user_ids: UserIds) -> PodSecurityContext {
    let user = match user_ids {
        UserIds::Image => Some(IMAGE_USER_ID),
        UserIds::Assigned => None,
    };
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: user,
        run_as_group: user,
        fs_group: user,
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

/// Prefers different nodes for replicas.
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

/// Reads fields that validation has already checked as Kubernetes' own type `T`.
fn parsed_as<T: DeserializeOwned + Default>(fields: &impl Serialize) -> T {
    let fields = serde_json::to_value(fields).unwrap_or_default();
    serde_json::from_value(fields).unwrap_or_default()
}

/// Collects items, or returns none if there are none.
pub(in crate::stacks) fn non_empty<T, C: FromIterator<T>>(
    items: impl IntoIterator<Item = T>,
) -> Option<C> {
    let mut items = items.into_iter().peekable();
    items.peek()?;
    Some(items.collect())
}
