//! Objects from a valid stack. Pure, and nothing here can fail.

pub mod entrance;
pub mod environment;
pub mod jaeger;
pub mod labels;
pub mod network;
pub mod object;
pub mod pod;
#[cfg(test)]
mod tests;
pub mod text;

use k8s_openapi::api::{apps::v1::Deployment, core::v1::ConfigMap};
use spoor_api::stack::{Collector, Jaeger, Stack};
use spoor_policy::TailTable;

use self::{entrance::Leads, object::Object, pod::PodDefaults};
use super::collector;

/// OTLP over gRPC.
pub const OTLP_GRPC: i32 = 4317;
/// OTLP over HTTP.
pub const OTLP_HTTP: i32 = 4318;

/// What a stack is built into.
#[derive(Clone, Debug, PartialEq)]
pub struct Surroundings {
    /// Where the policies' doors are.
    pub doors: Doors,
    /// The domain that the cluster's names end with.
    pub cluster_domain: String,
    /// The certificates by which the doors are known, in PEM.
    pub authority: String,
    /// Settings of the pods of every stack.
    pub pods: PodDefaults,
}

/// The Service before the policies' doors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doors {
    /// Its name.
    pub service: String,
    /// Its namespace.
    pub namespace: String,
}

impl Doors {
    /// Its name as pods of every namespace can look it up.
    #[must_use]
    pub fn host(&self) -> String {
        format!("{}.{}.svc", self.service, self.namespace)
    }

    /// All names that its certificate should be for.
    #[must_use]
    pub fn names(&self, cluster_domain: &str) -> Vec<String> {
        let Self { service, namespace } = self;
        vec![
            self.host(),
            format!("{service}.{namespace}.svc.{cluster_domain}"),
            format!("{service}.{namespace}"),
            service.clone(),
        ]
    }
}

/// A stack's objects.
#[derive(Clone, Debug, PartialEq)]
pub struct Built {
    /// Everything but the Collector's tiers.
    pub objects: Vec<Object>,
    /// The Collector's tiers, which are changed one at a time.
    pub tiers: Option<Tiers>,
}

/// The Collector's tiers.
#[derive(Clone, Debug, PartialEq)]
pub struct Tiers {
    /// All of it, for the plan of its rollout.
    pub collector: collector::Objects,
    /// The objects of the tier that gathers.
    pub gather: Vec<Object>,
    /// The objects of the tier that decides.
    pub decide: Vec<Object>,
}

/// A stack's objects. `with_collector`: whether the Collector is needed now. Its Services are there
/// all the same: one that went and came back would have another address, and a pod that has
/// looked up the old one sends into nowhere.
#[must_use]
pub fn build(
    stack: &Stack,
    surroundings: &Surroundings,
    leads: Leads,
    with_collector: bool,
    tail: &TailTable,
) -> Built {
    let mut objects = vec![
        Object::of(&environment::authority(stack, surroundings)),
        Object::of(&environment::settings(stack, surroundings)),
        Object::of(&entrance::service(stack, leads, surroundings)),
    ];
    if let Jaeger::Managed(managed) = &stack.jaeger {
        objects.extend(jaeger::objects(stack, managed, &surroundings.pods));
        objects.push(Object::of(&network::jaeger(stack, managed)));
    }
    if let Collector::Managed(_) = &stack.collector {
        objects.extend(collector::services(stack).iter().map(Object::of));
    }
    let mut tiers = None;
    if let (true, Collector::Managed(managed)) = (with_collector, &stack.collector) {
        let reported = format!("http://{}:{OTLP_HTTP}", surroundings.doors.host());
        let collector = collector::build(&collector::Input {
            stack,
            collector: managed,
            jaeger_otlp: &jaeger_otlp(stack),
            reported: &reported,
            tail,
            pods: &surroundings.pods,
        });
        objects.extend(collector.network_policies.iter().map(Object::of));
        objects.extend(collector.disruption_budgets.iter().map(Object::of));
        tiers = Some(Tiers {
            gather: tier(&collector.gather.config, &collector.gather.workload),
            decide: tier(&collector.decide.config, &collector.decide.workload),
            collector,
        });
    }
    objects.sort_by_key(|object| object.kind);
    Built { objects, tiers }
}

fn tier(config: &ConfigMap, workload: &Deployment) -> Vec<Object> {
    vec![Object::of(config), Object::of(workload)]
}

/// Host and port of Jaeger's OTLP over gRPC.
fn jaeger_otlp(stack: &Stack) -> String {
    match &stack.jaeger {
        Jaeger::Existing(existing) => existing.otlp.to_string(),
        Jaeger::Managed(_) => {
            format!(
                "{}.{}.svc:{OTLP_GRPC}",
                jaeger::name(stack),
                stack.namespace
            )
        }
    }
}
