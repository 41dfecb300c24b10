//! Builds the objects of a valid stack. Pure, and nothing here can fail.

pub mod environment;
pub mod jaeger;
pub mod network;
pub mod otlp_service;
#[cfg(test)]
mod tests;

use spoor_api::stack::{Collector, Jaeger, ManagedCollector, ManagedSampler, Sampler, Stack};
use spoor_policy::TailTable;

use self::otlp_service::OtlpTarget;
use super::{
    collector::{self, CollectorInput, CollectorObjects},
    objects::{
        labels::Component,
        otlp::{OTLP_GRPC_PORT, OTLP_HTTP_PORT},
        pod::PodDefaults,
        sort_by_kind,
    },
    sampler::{self, SamplerImage, SamplerInput},
};
use crate::kubernetes::apply::Manifest;

/// The facts outside a stack that its objects depend on.
#[derive(Clone, Debug, PartialEq)]
pub struct BuildContext {
    /// The Service of the `policies` role.
    pub policies_service: PoliciesService,
    /// The DNS domain of the cluster.
    pub cluster_domain: String,
    /// The certificate authority of the `policies` role, in PEM.
    pub authority: String,
    /// Defaults for the pods of every stack.
    pub pods: PodDefaults,
    /// The image of Spoor's sampler.
    pub sampler_image: SamplerImage,
}

/// The Service in front of the `policies` role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoliciesService {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
}

impl PoliciesService {
    /// The DNS name by which pods of every namespace reach it.
    #[must_use]
    pub fn host(&self) -> String {
        // Without the cluster's domain: pods' search domains complete the name in any cluster.
        format!("{}.{}.svc", self.name, self.namespace)
    }

    /// The DNS names that its certificate is valid for.
    #[must_use]
    pub fn names(&self, cluster_domain: &str) -> Vec<String> {
        let Self { name, namespace } = self;
        vec![
            self.host(),
            format!("{name}.{namespace}.svc.{cluster_domain}"),
            format!("{name}.{namespace}"),
            name.clone(),
        ]
    }
}

/// The objects of a stack.
#[derive(Clone, Debug, PartialEq)]
pub struct BuiltStack {
    /// All objects but those of the Collector's tiers.
    pub objects: Vec<Manifest>,
    /// The Collector's tiers, which are changed one at a time. None with Spoor's sampler, whose
    /// Collector has one tier, and with an existing Collector.
    pub tiers: Option<CollectorObjects>,
}

/// Builds the objects of a stack. `with_collector` is true while the Collector is needed. Its
/// Services exist even without it: a Service that is deleted and created again has another address,
/// and a pod that has resolved the old one would keep sending to it.
#[must_use]
pub fn build(
    stack: &Stack,
    context: &BuildContext,
    target: OtlpTarget,
    with_collector: bool,
    tail: &TailTable,
) -> BuiltStack {
    let mut objects = vec![
        Manifest::of(&environment::authority(stack, context)),
        Manifest::of(&environment::settings(stack, context)),
        Manifest::of(&otlp_service::service(stack, target, context)),
    ];
    if let Jaeger::Managed(managed) = &stack.jaeger {
        objects.extend(jaeger::objects(stack, managed, &context.pods));
        objects.push(Manifest::of(&network::jaeger(stack, managed)));
    }
    // Kept apart from the other objects, since the two tiers must never change at the
    // same time.
    let mut tiers = None;
    if let Collector::Managed(managed) = &stack.collector {
        let services = match &stack.sampler {
            Sampler::OpenTelemetry => collector::services(stack),
            Sampler::Spoor(_) => collector::pipeline_services(stack),
        };
        objects.extend(services.iter().map(Manifest::of));
        match (with_collector, &stack.sampler) {
            (false, _) => {}
            (true, Sampler::OpenTelemetry) => {
                let collector = build_collector(stack, managed, context, tail, collector::build);
                objects.extend(collector.network_policies.iter().map(Manifest::of));
                objects.extend(collector.disruption_budget.iter().map(Manifest::of));
                tiers = Some(collector);
            }
            (true, Sampler::Spoor(_)) => {
                let pipelines = collector::pipeline_objects;
                objects.extend(build_collector(stack, managed, context, tail, pipelines));
            }
        }
    }
    // The Collector in front of it may be one that the operator does not run.
    if let Sampler::Spoor(sampler) = &stack.sampler {
        let services = sampler::services(stack);
        objects.extend(services.iter().map(Manifest::of));
        if with_collector {
            objects.extend(sampler_objects(stack, sampler, context));
        }
    }
    // A pod must not start before its ConfigMap and its NetworkPolicy exist.
    sort_by_kind(&mut objects);
    BuiltStack { objects, tiers }
}

/// Builds the tiers that a stack had before it changed to Spoor's sampler, without rules, so that
/// they keep every trace. None if the stack does not have that sampler or uses an existing
/// Collector.
///
/// The spec no longer has the `decisionWait` of the tiers. Without rules it has no effect, but if it
/// was not the default, the rollout regards the deciding tier's pipeline as a new one.
#[must_use]
pub fn former_tiers(stack: &Stack, context: &BuildContext) -> Option<CollectorObjects> {
    let (Collector::Managed(managed), Sampler::Spoor(_)) = (&stack.collector, &stack.sampler)
    else {
        return None;
    };
    let (no_rules, tiers) = (TailTable::default(), collector::build);
    Some(build_collector(stack, managed, context, &no_rules, tiers))
}

/// Builds the Collector with one of the functions of [`collector`].
fn build_collector<T>(
    stack: &Stack,
    collector: &ManagedCollector,
    context: &BuildContext,
    tail: &TailTable,
    build: impl FnOnce(&CollectorInput<'_>) -> T,
) -> T {
    let host = context.policies_service.host();
    let counts_endpoint = format!("http://{host}:{OTLP_HTTP_PORT}");
    build(&CollectorInput {
        stack,
        collector,
        jaeger_otlp: &jaeger_otlp(stack),
        counts_endpoint: &counts_endpoint,
        tail,
        pods: &context.pods,
    })
}

fn sampler_objects(
    stack: &Stack,
    sampler: &ManagedSampler,
    context: &BuildContext,
) -> Vec<Manifest> {
    let authority = environment::authority_name(stack);
    let existing_kept = match &stack.collector {
        Collector::Existing(existing) => existing.kept.as_ref(),
        Collector::Managed(_) => None,
    };
    let kept_url = match existing_kept {
        Some(kept) => format!("http://{kept}"),
        None => collector::pipelines::kept_url(stack),
    };
    sampler::objects(&SamplerInput {
        stack,
        sampler,
        image: &context.sampler_image,
        control: &environment::control_url(context),
        authority: (authority.as_str(), environment::CA_KEY),
        output: &kept_url,
        pods: &context.pods,
    })
}

/// The host and port of Jaeger's OTLP receiver over gRPC.
fn jaeger_otlp(stack: &Stack) -> String {
    match &stack.jaeger {
        Jaeger::Existing(existing) => existing.otlp.to_string(),
        Jaeger::Managed(_) => {
            let name = Component::Jaeger.name_in(stack);
            format!("{name}.{}.svc:{OTLP_GRPC_PORT}", stack.namespace)
        }
    }
}
