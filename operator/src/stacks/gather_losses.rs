//! Spans that the gathering tier took and never handed on. The Collector's `groupbytrace` deletes
//! those that arrive while it releases their trace, and counts no loss: it shows only as what was
//! accepted and is never released.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

use spoor_api::{
    stack::{Collector, ManagedCollector},
    status::{Condition, ConditionStatus},
    tracing_stack::TracingStackStatus,
};

use super::{
    build::labels::Component,
    children::is_of,
    collector::{CLIENTS, PEERS},
    dereference::Seen,
    preprocess::preprocess,
    reconcile::Reconciler,
    status::Health,
    validate::validate,
};
use crate::kubernetes::watch::{Key, Watches};

/// Between two looks.
const LOOK_INTERVAL: Duration = Duration::from_secs(30);
/// What a gathering pod took is handed on this long after `gatherWait` at the latest.
const RELEASE_LAG: Duration = Duration::from_secs(2);
/// Stacks that are looked at together.
const AT_ONCE: usize = 16;

/// A stack is reported as long as this after its last loss.
const REPORTED_FOR: Duration = Duration::from_secs(600);
const ACCEPTED: &str = "otelcol_receiver_accepted_spans";
const RELEASED: &str = "otelcol_processor_groupbytrace_spans_released";

/// The counters of a gathering pod at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct GatherReading {
    accepted: f64,
    released: f64,
}

impl GatherReading {
    /// Reads metrics in Prometheus' text format. `receivers` are those that feed the gatherer.
    #[must_use]
    pub fn of(metrics: &str, receivers: &[&str]) -> Self {
        let mut reading = Self::default();
        for line in metrics.lines() {
            let Some((series, value)) = line.rsplit_once(' ') else {
                continue;
            };
            let value = value.parse::<f64>().unwrap_or(0.0);
            let name = series.split('{').next().unwrap_or_default();
            let is_fed_by = |receiver| series.contains(&format!("receiver=\"{receiver}\""));
            match name.strip_suffix("_total").unwrap_or(name) {
                ACCEPTED if receivers.iter().any(is_fed_by) => reading.accepted += value,
                RELEASED => reading.released += value,
                _ => {}
            }
        }
        reading
    }

    /// The least number of spans that were lost before `earlier`, which is so old that everything
    /// taken until then was released since. None if the pod's counters began anew.
    #[must_use]
    pub fn lost_since(&self, earlier: &Self) -> Option<u64> {
        if self.accepted < earlier.accepted || self.released < earlier.released {
            return None;
        }
        let missing = (earlier.accepted - self.released).max(0.0);
        // Counters are whole numbers.
        format!("{missing:.0}").parse().ok()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    namespace: String,
    stack: String,
}

/// What each stack's gathering pods have lost.
#[derive(Debug, Default)]
pub struct GatherLosses {
    stacks: Mutex<HashMap<Key, Stack>>,
    lost: Family<Labels, Counter>,
}

#[derive(Debug, Default)]
struct Stack {
    /// By the pod's uid: the most that it was seen to have lost.
    pods: HashMap<String, u64>,
    total: u64,
    last: Option<Instant>,
}

impl GatherLosses {
    /// Registers the metrics, under `spoor_operator_`.
    pub fn register(&self, registry: &mut Registry) {
        registry
            .sub_registry_with_prefix("spoor_operator")
            .register(
                "gather_lost_spans",
                "Spans that gathering Collectors accepted and did not release, at the least",
                self.lost.clone(),
            );
    }

    /// Takes in how much a pod has lost since its start. True if that is more than was known.
    pub fn add(&self, stack: &Key, pod: &str, lost: u64) -> bool {
        let mut stacks = self.stacks.lock();
        let known = stacks.entry(stack.clone()).or_default();
        let before = known.pods.entry(pod.to_owned()).or_default();
        let more = lost.saturating_sub(*before);
        if more == 0 {
            return false;
        }
        *before = lost;
        known.total += more;
        known.last = Some(Instant::now());
        let labels = Labels {
            namespace: stack.namespace.clone(),
            stack: stack.name.clone(),
        };
        self.lost.get_or_create(&labels).inc_by(more);
        true
    }

    /// The spans that a stack has lost, if it lost some a short while ago.
    #[must_use]
    pub fn recent(&self, stack: &Key) -> Option<u64> {
        let stacks = self.stacks.lock();
        let known = stacks.get(stack)?;
        let is_recent = known.last.is_some_and(|last| last.elapsed() < REPORTED_FOR);
        is_recent.then_some(known.total)
    }

    /// Forgets stacks that are gone.
    pub fn keep_only(&self, is_there: impl Fn(&Key) -> bool) {
        self.stacks.lock().retain(|stack, _| is_there(stack));
    }

    /// Forgets pods that are gone.
    pub fn keep_pods(&self, stack: &Key, pods: &[Pod]) {
        if let Some(known) = self.stacks.lock().get_mut(stack) {
            let is_there = |uid: &String| {
                pods.iter()
                    .any(|pod| pod.metadata.uid.as_ref() == Some(uid))
            };
            known.pods.retain(|uid, _| is_there(uid));
        }
    }
}

impl Reconciler {
    /// Looks at all gathering pods now and then, for ever. A new loss makes the watches tick.
    pub(super) async fn watch_losses(&self, watches: &Watches) {
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            let mut looks = vec![];
            for stack in self.cluster.stacks() {
                if self.claims.is_certain(&stack.key.namespace) {
                    looks.push(self.look_for_losses(stack));
                }
            }
            let looks = stream::iter(looks).buffer_unordered(AT_ONCE);
            let found: Vec<bool> = looks.collect().await;
            if found.contains(&true) {
                watches.touch();
            }
        }
    }

    /// True if a stack's gathering pods have lost more than was known.
    async fn look_for_losses(&self, seen: Arc<Seen>) -> bool {
        let Some((collector, pods)) = self.gathering(&seen) else {
            return false;
        };
        self.losses.keep_pods(&seen.key, &pods);
        // With several pods the clients' receiver spreads spans: they are accepted a second time.
        let receivers: &[&str] = match collector.replicas {
            1 => &[CLIENTS, PEERS],
            _ => &[PEERS],
        };
        let mut earlier = vec![];
        for pod in &pods {
            earlier.push(self.gather_reading(pod, receivers).await);
        }
        if earlier.iter().all(Option::is_none) {
            return false;
        }
        tokio::time::sleep(collector.gather_wait + RELEASE_LAG).await;
        let mut has_found = false;
        for (pod, earlier) in pods.iter().zip(earlier) {
            let now = self.gather_reading(pod, receivers).await;
            let (Some(earlier), Some(now)) = (earlier, now) else {
                continue;
            };
            let uid = pod.metadata.uid.as_deref().unwrap_or_default();
            let lost = now.lost_since(&earlier).unwrap_or_default();
            has_found |= self.losses.add(&seen.key, uid, lost);
        }
        has_found
    }

    async fn gather_reading(&self, pod: &Pod, receivers: &[&str]) -> Option<GatherReading> {
        let address = pod.status.as_ref()?.pod_ip.as_deref()?;
        let metrics = self.readings.metrics(address).await.ok()?;
        Some(GatherReading::of(&metrics, receivers))
    }

    /// A stack's own Collector and its gathering pods, while these are as it asks for: otherwise
    /// they may still spread spans, or hold them for longer.
    fn gathering(&self, seen: &Seen) -> Option<(Box<ManagedCollector>, Vec<Pod>)> {
        let found = self.cluster.dereference(&seen.key);
        let asked = preprocess(seen, &[], jiff::Timestamp::now());
        if !is_settled(&asked.status, seen.generation) {
            return None;
        }
        let stack = validate(&asked.stack.ok()?).ok()?;
        if !Health::of(&stack, &found).gather.is_complete {
            return None;
        }
        let Collector::Managed(collector) = stack.collector else {
            return None;
        };
        let mut pods = found.pods;
        pods.retain(|pod| is_of(pod, Component::Gather));
        Some((collector, pods))
    }
}

/// Whether what runs is what this generation of a stack asks for, by its status.
fn is_settled(status: &TracingStackStatus, generation: Option<i64>) -> bool {
    let is_still = |condition: &Condition| {
        condition.kind == "Progressing" && condition.status == ConditionStatus::False
    };
    status.observed_generation == generation && status.conditions.iter().any(is_still)
}

/// What to say of a stack that loses spans.
#[must_use]
pub fn message(lost: u64) -> String {
    format!(
        "the gathering Collector lost {lost} or more spans that arrived gatherWait after the first \
         of their trace: set spec.collector.gatherWait to a time at which no program sends spans"
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn reading(accepted: u32, peers: u32, released: u32) -> String {
        format!(
            "# TYPE otelcol_receiver_accepted_spans_total counter\n\
             otelcol_receiver_accepted_spans_total{{receiver=\"otlp\",transport=\"grpc\"}} {accepted}\n\
             otelcol_receiver_accepted_spans_total{{receiver=\"otlp/spoor-peers\",transport=\"grpc\"}} {peers}\n\
             otelcol_processor_groupbytrace_spans_released_total{{otel_scope_name=\"x\"}} {released}\n"
        )
    }

    fn of(accepted: u32, peers: u32, released: u32) -> GatherReading {
        let receivers = ["otlp", "otlp/spoor-peers"];
        GatherReading::of(&reading(accepted, peers, released), &receivers)
    }

    #[test]
    fn what_is_never_released_is_lost() {
        let earlier = of(1_000, 20, 800);
        assert_eq!(of(1_500, 20, 964).lost_since(&earlier), Some(56));
        assert_eq!(of(1_500, 20, 1_400).lost_since(&earlier), Some(0));
    }

    #[test]
    fn only_receivers_of_the_gatherer_count() {
        let peers = GatherReading::of(&reading(7_000, 20, 20), &["otlp/spoor-peers"]);
        assert_eq!(peers.lost_since(&peers), Some(0));
    }

    #[test]
    fn restarted_pod_says_nothing() {
        assert_eq!(of(5, 0, 0).lost_since(&of(1_000, 0, 900)), None);
    }

    #[rstest::rstest]
    #[case("False", 3, true)]
    #[case("True", 3, false)]
    #[case("False", 2, false)]
    fn pods_are_read_once_a_change_is_through(
        #[case] progressing: &str,
        #[case] observed: i64,
        #[case] is_read: bool,
    ) {
        let status = serde_json::json!({
            "observedGeneration": observed,
            "conditions": [{
                "type": "Progressing", "status": progressing, "reason": "x", "message": "x",
                "lastTransitionTime": "2027-01-01T00:00:00Z",
            }],
        });
        let status = serde_json::from_value(status).unwrap();
        assert_eq!(is_settled(&status, Some(3)), is_read);
    }

    #[test]
    fn losses_of_pods_add_up_once() {
        let losses = GatherLosses::default();
        let stack = Key {
            namespace: "shop".to_owned(),
            name: "tracing".to_owned(),
        };
        assert_eq!(losses.recent(&stack), None);
        assert!(losses.add(&stack, "one", 3));
        assert!(!losses.add(&stack, "one", 3));
        assert!(losses.add(&stack, "two", 2));
        assert_eq!(losses.recent(&stack), Some(5));
    }
}
