//! Plans the scaling and the end of a stack's samplers by what their metrics report.

use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use spoor_api::{
    stack::{Collector, Sampler, SamplerEngine, Stack},
    tracing_stack::SamplerStatus,
};
use spoor_policy::TailTable;

use super::{
    apply::DesiredObjects,
    collector::{self, samples::MetricSample},
    objects::labels::Component,
    parse::StackObject,
    pod_failure::not_terminating,
    reconcile::Reconciler,
    rings::{self, SamplerReading, ScalingPlan, ScalingState},
    route::RoutePlan,
    sampler,
    sources::RelatedObjects,
    status::{StackHealth, sampler_set},
};

/// The interval at which samplers are read while their number changes, or until they can end.
pub(super) const SCALING_INTERVAL: Duration = Duration::from_secs(5);
const RINGS_GENERATION: &str = "spoor_sampler_rings_generation";
const RULES: &str = "spoor_sampler_rules";
const SETTLED_GENERATION: &str = "spoor_sampler_rings_settled_generation";
const FORWARD_PENDING: &str = "spoor_sampler_forward_pending";
const UNDELIVERED: &str = "spoor_sampler_undelivered";
/// The label with the digest of the tail rules.
const DIGEST: &str = "digest";
/// The label with the ordinal of the sampler that spans wait for.
const PEER: &str = "peer";

impl Reconciler {
    /// Plans the next step of scaling the samplers of a stack, if it has those of Spoor. `previous`
    /// is their status that was written last.
    pub(super) async fn plan_samplers(
        &self,
        stack: &Stack,
        object: &StackObject,
        related: &RelatedObjects,
        previous: Option<&SamplerStatus>,
        now: Timestamp,
    ) -> Option<ScalingPlan> {
        let Sampler::Spoor(sampler) = &stack.sampler else {
            return None;
        };
        let state = ScalingState {
            wanted: sampler.replicas,
            rings: previous.and_then(|status| status.rings.as_ref()),
            replicas: running_samplers(stack, related, previous),
            readings: &[],
            forgotten: &object.forgotten_samplers,
        };
        let without_readings = rings::plan(&state, now);
        if without_readings.is_complete {
            return Some(without_readings);
        }
        let replicas = without_readings.replicas;
        let readings = self.read_samplers(stack, related, replicas).await;
        let readings = &readings;
        let plan = rings::plan(&ScalingState { readings, ..state }, now);
        if plan.replicas == replicas {
            return Some(plan);
        }
        // A sampler that should end may have received spans after it was read, from one that was
        // read later. By now the others have nothing left for it, and with these rings they never
        // will, so a second reading of it is final.
        let readings = self.read_samplers(stack, related, replicas).await;
        let readings = &readings;
        Some(rings::plan(&ScalingState { readings, ..state }, now))
    }

    /// Leaves parts that the stack no longer needs while they may have spans: a sampler, and the
    /// Collector to which it returns them. The traces in a sampler may wait for longer than a
    /// change of route or engine takes, and the spans that it keeps wait for Jaeger.
    pub(super) async fn leave_former_sampler(
        &self,
        stack: &Stack,
        related: &RelatedObjects,
        health: &StackHealth,
        desired: &mut DesiredObjects,
        route_plan: &mut RoutePlan,
    ) {
        let is_existing = matches!(stack.collector, Collector::Existing(_));
        if is_existing && may_return_to_own_collector(stack, related, health) {
            let collector = Component::Collector.as_str();
            desired.leave_components.push(collector);
        }
        let is_obsolete = health.sampler.exists && !desired.has_sampler();
        if is_obsolete && self.may_have_spans(stack, related, health).await {
            let parts = Component::of_engine(SamplerEngine::Spoor).map(Component::as_str);
            desired.leave_components.extend(parts);
            route_plan.keeps_former_engine = true;
            route_plan.replan_in = Some(SCALING_INTERVAL);
        }
    }

    /// Returns true unless each sampler of the stack that is ready reports that it has no traces or
    /// spans. Others are not waited for, since they may never be ready again.
    async fn may_have_spans(
        &self,
        stack: &Stack,
        related: &RelatedObjects,
        health: &StackHealth,
    ) -> bool {
        let readings = self.read_ready_samplers(stack, related, health).await;
        readings.is_none_or(|readings| readings.iter().any(|it| it.undelivered > 0))
    }

    /// Returns true if the engine that the stack leaves has no tail rules, and so keeps every
    /// trace. Pods that are not ready are not waited for, since they may never be ready again.
    pub(super) async fn former_engine_keeps_all(
        &self,
        stack: &Stack,
        related: &RelatedObjects,
        health: &StackHealth,
    ) -> bool {
        if stack.sampler.engine() == SamplerEngine::Spoor {
            return health.decides_without_rules(stack);
        }
        let no_rules = TailTable::default().digest(&stack.namespace).to_string();
        let readings = self.read_ready_samplers(stack, related, health).await;
        readings.is_some_and(|readings| {
            let mut rules = readings.iter().filter_map(|it| it.rules.as_ref());
            rules.all(|digest| *digest == no_rules)
        })
    }

    /// Reads the metrics of a stack's samplers. None if fewer of them report than are ready.
    async fn read_ready_samplers(
        &self,
        stack: &Stack,
        related: &RelatedObjects,
        health: &StackHealth,
    ) -> Option<Vec<SamplerReading>> {
        let count = running_samplers(stack, related, None);
        let readings = self.read_samplers(stack, related, count).await;
        let readings: Vec<SamplerReading> = readings.into_iter().flatten().collect();
        let ready = usize::try_from(health.ready_samplers).unwrap_or(usize::MAX);
        (readings.len() >= ready).then_some(readings)
    }

    /// Reads the metrics of the samplers with the ordinals below a number.
    async fn read_samplers(
        &self,
        stack: &Stack,
        related: &RelatedObjects,
        count: u16,
    ) -> Vec<Option<SamplerReading>> {
        let mut reads = vec![];
        for ordinal in 0..count {
            let name = sampler::pod_name(stack, ordinal);
            reads.push(self.read_sampler(&related.pods, name));
        }
        join_all(reads).await
    }

    /// Reads the metrics of a sampler. None if it does not run, does not respond, or is of a
    /// version without rings.
    async fn read_sampler(&self, pods: &[Pod], name: String) -> Option<SamplerReading> {
        let mut pods = not_terminating(pods);
        let pod = pods.find(|pod| pod.metadata.name.as_ref() == Some(&name))?;
        let address = pod.status.as_ref()?.pod_ip.as_deref()?;
        // Not logged: the next attempt reads them again, and the condition `Progressing` reports
        // that the samplers are being scaled.
        let metrics = self.metrics_client.read(address, sampler::OPS).await.ok()?;
        SamplerReading::from_metrics(&metrics)
    }
}

impl SamplerReading {
    /// Reads metrics in Prometheus' text format.
    fn from_metrics(metrics: &str) -> Option<Self> {
        let samples: Vec<_> = MetricSample::all(metrics).collect();
        let gauge = |name: &str| {
            let sample = samples.iter().find(|sample| sample.name == name)?;
            Some(sample.count())
        };
        let pending = samples
            .iter()
            .filter(|sample| sample.name == FORWARD_PENDING);
        let pending = pending.map(|sample| {
            let peer = sample.label(PEER)?.parse().ok()?;
            Some((peer, sample.count()))
        });
        let rules = samples.iter().find(|sample| sample.name == RULES);
        Some(Self {
            rings_generation: gauge(RINGS_GENERATION)?,
            rules: rules.and_then(|it| it.label(DIGEST)).map(str::to_owned),
            settled_generation: gauge(SETTLED_GENERATION)?,
            forward_pending: pending.collect::<Option<_>>()?,
            undelivered: gauge(UNDELIVERED)?,
        })
    }
}

/// The number of samplers that run, according to the StatefulSet. While that is being replaced, its
/// pods stay, and the status has their number.
fn running_samplers(
    stack: &Stack,
    related: &RelatedObjects,
    previous: Option<&SamplerStatus>,
) -> u16 {
    let replicas = match sampler_set(stack, related) {
        Some(set) => {
            let replicas = set.spec.as_ref().and_then(|spec| spec.replicas);
            u16::try_from(replicas.unwrap_or(1)).ok()
        }
        None => previous.and_then(|status| u16::try_from(status.replicas).ok()),
    };
    replicas.unwrap_or_default()
}

/// Returns true while a pod of the sampler may return spans to the Collector that the operator ran
/// until the stack got an existing one.
fn may_return_to_own_collector(
    stack: &Stack,
    related: &RelatedObjects,
    health: &StackHealth,
) -> bool {
    if stack.sampler.engine() != SamplerEngine::Spoor {
        return false;
    }
    let set = sampler_set(stack, related);
    let output = set.and_then(sampler::output);
    let is_own = output == Some(collector::pipelines::kept_url(stack).as_str());
    // Also while its pods are being replaced.
    is_own || (output.is_some() && !health.sampler.is_complete)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeMap;

    use super::*;

    const METRICS: &str = "# TYPE spoor_sampler_rings_generation gauge\n\
        spoor_sampler_rings_generation 1800000000123\n\
        spoor_sampler_rules{version=\"1\",digest=\"0\"} 1\n\
        spoor_sampler_rings_settled_generation 1800000000001\n\
        spoor_sampler_forward_pending{peer=\"0\"} 0\n\
        spoor_sampler_forward_pending{peer=\"12\"} 34\n\
        spoor_sampler_undelivered 5\n";

    #[test]
    fn reads_the_gauges_of_a_sampler() {
        let expected = SamplerReading {
            rings_generation: 1_800_000_000_123,
            rules: Some("0".to_owned()),
            settled_generation: 1_800_000_000_001,
            forward_pending: BTreeMap::from([(0, 0), (12, 34)]),
            undelivered: 5,
        };
        assert_eq!(SamplerReading::from_metrics(METRICS), Some(expected));
    }

    #[test]
    fn incomplete_metrics_give_no_reading() {
        for name in [RINGS_GENERATION, SETTLED_GENERATION, UNDELIVERED, "\"12\""] {
            let metrics = METRICS.replace(name, "\"other\"");
            assert_eq!(SamplerReading::from_metrics(&metrics), None, "{name}");
        }
    }
}
