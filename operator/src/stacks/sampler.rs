//! Spoor's sampler of a stack. It receives the spans of the Collector's first pipeline, decides on
//! complete traces by the rules that the `policies` role streams to it, and returns those that it
//! keeps to the Collector's second pipeline.
//!
//! Several samplers divide the traces among themselves, by the rings that `rings.rs` plans.

mod claims;
mod network;
mod token;

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::{
    api::{
        apps::v1::{StatefulSet, StatefulSetSpec},
        core::v1::{
            ConfigMapVolumeSource, Container, EmptyDirVolumeSource, EnvVar, EnvVarSource,
            ObjectFieldSelector, PodSpec, PodTemplateSpec, ProjectedVolumeSource, Service,
            ServiceAccountTokenProjection, ServicePort, ServiceSpec, Volume, VolumeMount,
            VolumeProjection,
        },
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::ObjectMeta},
};
use spoor_api::stack::{ManagedSampler, Stack};

pub use self::{
    claims::deletion,
    token::{add_token, may_be_missing},
};
use super::objects::{
    labels::{Component, component_metadata, label_selector, selector},
    network::service_port,
    otlp::{OTLP_GRPC_PORT, any_address},
    pod::{self, PodDefaults},
    workload::{container_ports, disruption_budget, read_only_mount},
};
use crate::kubernetes::apply::Manifest;

/// The port of metrics and probes.
pub const OPS: u16 = 9464;
/// The port on which the samplers of a stack call each other.
const PEERS: u16 = 4320;
const PORTS: [(&str, u16); 3] = [
    ("otlp-grpc", OTLP_GRPC_PORT),
    ("peers", PEERS),
    ("ops", OPS),
];

/// The variable with the receiver for the spans that are kept.
const OUTPUT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const JOURNAL_VOLUME: &str = "journal";
const JOURNAL_FOLDER: &str = "/var/lib/spoor";
const TOKEN_FOLDER: &str = "/var/run/secrets/spoor.dev";
const CA_FOLDER: &str = "/etc/spoor/ca";
/// The audience of the token that identifies a pod to the `policies` role.
const AUDIENCE: &str = "spoor.dev";
/// The kubelet renews the token when a fifth of this time is left.
const TOKEN_SECONDS: i64 = 3600;
/// The sampler ends within 50 s of SIGTERM, besides the time that its disk takes
/// (`crates/sampler/src/grace.rs`): 5 s for requests, 5 s for what is in progress, 22 s to give its
/// journal to a peer, 15 s for sending if none takes it, 3 s for the rest.
const GRACE_SECONDS: i64 = 60;
const MIB: u64 = 1 << 20;

/// The image of the sampler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SamplerImage {
    /// Its reference, with the registry.
    pub reference: String,
    /// Its pull policy.
    pub pull_policy: String,
}

/// The inputs of a stack's sampler.
#[derive(Clone, Copy, Debug)]
pub struct SamplerInput<'a> {
    /// The stack.
    pub stack: &'a Stack,
    /// Its sampler.
    pub sampler: &'a ManagedSampler,
    /// The image.
    pub image: &'a SamplerImage,
    /// The endpoint from which rules are streamed, `https://HOST:PORT`.
    pub control: &'a str,
    /// The ConfigMap with the certificate authority of that endpoint, and the key in it.
    pub authority: (&'a str, &'a str),
    /// The receiver for the spans that are kept, `http://HOST:PORT`.
    pub output: &'a str,
    /// Defaults for the pods of every stack.
    pub pods: &'a PodDefaults,
}

/// The time until the last span that reaches the sampler has left it.
#[must_use]
pub fn drain_time(sampler: &ManagedSampler) -> Duration {
    const SEND_TIME: Duration = Duration::from_secs(2);
    sampler.max_trace_duration + 2 * SEND_TIME
}

/// The receiver to which the pods of a sampler's StatefulSet send the spans that they keep.
#[must_use]
pub fn output(set: &StatefulSet) -> Option<&str> {
    let pod = set.spec.as_ref()?.template.spec.as_ref()?;
    let variables = pod.containers.first()?.env.as_ref()?;
    let output = variables.iter().find(|variable| variable.name == OUTPUT)?;
    output.value.as_deref()
}

/// The Service to which the Collector sends, whose address stays the same while pods come and go,
/// and the headless one that gives each pod its name and by which scrapers find the metrics. The
/// headless one includes pods that are not ready: samplers call each other whether or not they are
/// ready.
#[must_use]
pub fn services(stack: &Stack) -> Vec<Service> {
    let headless = Service {
        metadata: named(stack, pods_service_name(stack)),
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            publish_not_ready_addresses: Some(true),
            selector: Some(selector(stack, Component::Sampler)),
            ports: Some(PORTS.map(port).to_vec()),
            ..ServiceSpec::default()
        }),
        status: None,
    };
    let balanced = Service {
        metadata: component_metadata(stack, Component::Sampler),
        spec: Some(ServiceSpec {
            selector: Some(selector(stack, Component::Sampler)),
            ports: Some(vec![port(("otlp-grpc", OTLP_GRPC_PORT))]),
            ..ServiceSpec::default()
        }),
        status: None,
    };
    vec![balanced, headless]
}

/// The objects of the sampler, other than its Services.
#[must_use]
pub fn objects(input: &SamplerInput<'_>) -> Vec<Manifest> {
    let mut objects = vec![
        Manifest::of(&stateful_set(input)),
        Manifest::of(&network::policy(input.stack)),
        Manifest::of(&token::secret(input.stack)),
    ];
    objects.extend(claims::claims(input).iter().map(Manifest::of));
    let replicas = i32::from(input.sampler.replicas);
    let budget = disruption_budget(input.stack, Component::Sampler, replicas);
    objects.extend(budget.iter().map(Manifest::of));
    objects
}

fn named(stack: &Stack, name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        ..component_metadata(stack, Component::Sampler)
    }
}

fn pods_service_name(stack: &Stack) -> String {
    format!("{}-pods", Component::Sampler.name_in(stack))
}

/// The name of the pod with this ordinal.
#[must_use]
pub fn pod_name(stack: &Stack, ordinal: u16) -> String {
    format!("{}-{ordinal}", Component::Sampler.name_in(stack))
}

fn port((name, number): (&str, u16)) -> ServicePort {
    let protocol = if name == "ops" {
        "http"
    } else {
        "kubernetes.io/h2c"
    };
    ServicePort {
        app_protocol: Some(protocol.to_owned()),
        ..service_port(name, number, number)
    }
}

fn stateful_set(input: &SamplerInput<'_>) -> StatefulSet {
    let (stack, sampler) = (input.stack, input.sampler);
    let labels = selector(stack, Component::Sampler);
    let spread = label_selector(stack, Component::Sampler);
    StatefulSet {
        metadata: component_metadata(stack, Component::Sampler),
        spec: Some(StatefulSetSpec {
            replicas: Some(i32::from(sampler.replicas)),
            selector: spread.clone(),
            service_name: Some(pods_service_name(stack)),
            // A pod that cannot start must not keep its replacement from starting.
            pod_management_policy: Some("Parallel".to_owned()),
            revision_history_limit: Some(2),
            volume_claim_templates: claims::template(input).map(|template| vec![template]),
            template: PodTemplateSpec {
                metadata: Some(pod::metadata(
                    &sampler.pod.additions,
                    labels,
                    BTreeMap::new(),
                )),
                spec: Some(PodSpec {
                    termination_grace_period_seconds: Some(GRACE_SECONDS),
                    ..pod::spec(
                        container(input),
                        volumes(input),
                        &sampler.pod,
                        &spread,
                        input.pods,
                    )
                }),
            },
            ..StatefulSetSpec::default()
        }),
        status: None,
    }
}

fn container(input: &SamplerInput<'_>) -> Container {
    let sampler = input.sampler;
    // Twice the memory of the waiting traces, since the spans to send and the decisions that are
    // remembered take memory, too.
    let limit = (2 * sampler.memory + 256 * MIB).div_ceil(MIB);
    let journal = VolumeMount {
        name: JOURNAL_VOLUME.to_owned(),
        mount_path: JOURNAL_FOLDER.to_owned(),
        ..VolumeMount::default()
    };
    Container {
        name: "sampler".to_owned(),
        image: Some(input.image.reference.clone()),
        image_pull_policy: Some(input.image.pull_policy.clone()),
        args: Some(vec!["run".to_owned(), "sampler".to_owned()]),
        env: Some(env(input)),
        ports: Some(container_ports(&PORTS)),
        resources: Some(pod::resources(
            &sampler.pod.resources,
            &format!("{limit}Mi"),
        )),
        // The journal is read before the first response.
        startup_probe: Some(pod::http_probe("/healthz", OPS, 1, start_seconds(sampler))),
        readiness_probe: Some(pod::http_probe("/readyz", OPS, 2, 3)),
        liveness_probe: Some(pod::http_probe("/healthz", OPS, 10, 6)),
        volume_mounts: Some(vec![
            journal,
            read_only_mount("token", TOKEN_FOLDER),
            read_only_mount("ca", CA_FOLDER),
            token::mount(),
        ]),
        ..Container::default()
    }
}

/// The time for a start, in seconds: longer with a large journal, which would otherwise never be
/// read to its end.
fn start_seconds(sampler: &ManagedSampler) -> i32 {
    const MIN_SECONDS: u64 = 120;
    // The reading rate of a slow disk.
    const BYTES_PER_SECOND: u64 = 10 * MIB;
    let seconds = (sampler.storage.size / BYTES_PER_SECOND).max(MIN_SECONDS);
    i32::try_from(seconds).unwrap_or(i32::MAX)
}

fn env(input: &SamplerInput<'_>) -> Vec<EnvVar> {
    let (stack, sampler) = (input.stack, input.sampler);
    let (_, ca_key) = input.authority;
    let milliseconds = |duration: Duration| format!("{}ms", duration.as_millis());
    // The file system and the rules in force take up part of the volume, too.
    let journal_bytes = sampler.storage.size / 5 * 4;
    // An emptyDir ends with the pod. The traces in it are decided then only if no other sampler
    // keeps the journal for the next pod.
    let ends_with_pod = sampler.storage.claim.is_none();
    let resource = format!(
        "service.namespace={},service.instance.id=$(POD_NAME)",
        stack.namespace
    );
    // The sampler replaces `{ordinal}`.
    let peers = format!(
        "{}-{{ordinal}}.{}.{}.svc:{PEERS}",
        Component::Sampler.name_in(stack),
        pods_service_name(stack),
        stack.namespace
    );
    let settings = [
        (OUTPUT, input.output.to_owned()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc".to_owned()),
        ("OTEL_RESOURCE_ATTRIBUTES", resource),
        ("SPOOR_CONTROL_CA_FILE", format!("{CA_FOLDER}/{ca_key}")),
        ("SPOOR_CONTROL_ENDPOINT", input.control.to_owned()),
        ("SPOOR_CONTROL_TOKEN_FILE", format!("{TOKEN_FOLDER}/token")),
        ("SPOOR_DECIDE_AT_SHUTDOWN", ends_with_pod.to_string()),
        ("SPOOR_DECISION_WAIT", milliseconds(sampler.decision_wait)),
        ("SPOOR_JOURNAL", format!("{JOURNAL_FOLDER}/journal")),
        ("SPOOR_JOURNAL_SIZE", journal_bytes.to_string()),
        ("SPOOR_LISTEN", any_address(OTLP_GRPC_PORT)),
        ("SPOOR_LOG_FORMAT", "json".to_owned()),
        (
            "SPOOR_MAX_TRACE_DURATION",
            milliseconds(sampler.max_trace_duration),
        ),
        ("SPOOR_MEMORY", sampler.memory.to_string()),
        ("SPOOR_NAMESPACE", stack.namespace.to_string()),
        ("SPOOR_OPS_LISTEN", any_address(OPS)),
        ("SPOOR_PEERS", peers),
        ("SPOOR_PEERS_LISTEN", any_address(PEERS)),
        ("SPOOR_PEERS_TOKEN_FILE", token::file()),
        ("SPOOR_STACK", stack.name.to_string()),
    ];
    let settings = settings.map(|(name, value)| EnvVar {
        name: name.to_owned(),
        value: Some(value),
        ..EnvVar::default()
    });
    // First, since only later variables can refer to it.
    std::iter::once(own_name()).chain(settings).collect()
}

fn own_name() -> EnvVar {
    EnvVar {
        name: "POD_NAME".to_owned(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                field_path: "metadata.name".to_owned(),
                ..ObjectFieldSelector::default()
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    }
}

fn volumes(input: &SamplerInput<'_>) -> Vec<Volume> {
    let (authority, _) = input.authority;
    let storage = &input.sampler.storage;
    // The volume of a claim has the name of its template.
    let journal = storage.claim.is_none().then(|| Volume {
        name: JOURNAL_VOLUME.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource {
            size_limit: Some(Quantity(storage.size.to_string())),
            ..EmptyDirVolumeSource::default()
        }),
        ..Volume::default()
    });
    let token = ServiceAccountTokenProjection {
        audience: Some(AUDIENCE.to_owned()),
        expiration_seconds: Some(TOKEN_SECONDS),
        path: "token".to_owned(),
    };
    let files = [
        Volume {
            name: "token".to_owned(),
            projected: Some(ProjectedVolumeSource {
                sources: Some(vec![VolumeProjection {
                    service_account_token: Some(token),
                    ..VolumeProjection::default()
                }]),
                ..ProjectedVolumeSource::default()
            }),
            ..Volume::default()
        },
        Volume {
            name: "ca".to_owned(),
            config_map: Some(ConfigMapVolumeSource {
                name: authority.to_owned(),
                ..ConfigMapVolumeSource::default()
            }),
            ..Volume::default()
        },
        token::volume(input.stack),
    ];
    journal.into_iter().chain(files).collect()
}
