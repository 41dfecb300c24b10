//! Reads the counters of gathering pods at intervals, and records the losses that they show.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use spoor_api::{
    stack::{Collector, ManagedCollector},
    status::{Condition, ConditionStatus},
    tracing_stack::TracingStackStatus,
};

use super::{
    children::belongs_to,
    collector::{CLIENT_RECEIVER, PEER_RECEIVER},
    gather_losses::GatherCounters,
    objects::labels::Component,
    parse::{StackObject, parse},
    reconcile::Reconciler,
    status::StackHealth,
    validate::validate,
};
use crate::kubernetes::watch::Watches;

/// The pause between two rounds.
const ROUND_PAUSE: Duration = Duration::from_secs(30);
/// The time after `gatherWait` by which a gathering pod has forwarded the spans it received.
const RELEASE_LAG: Duration = Duration::from_secs(2);
/// The most stacks whose pods are read at a time.
const MAX_CONCURRENT_READS: usize = 16;

impl Reconciler {
    /// Reads the counters of all gathering pods in rounds. A new loss makes the watches report a
    /// change, so that the stacks are reconciled.
    pub(super) async fn monitor_losses(&self, watches: &Watches) {
        loop {
            tokio::time::sleep(ROUND_PAUSE).await;
            let mut reads = vec![];
            for stack in self.sources.stacks.all() {
                if self.claims.is_certain(&stack.key.namespace) {
                    reads.push(self.find_losses(stack));
                }
            }
            let reads = stream::iter(reads).buffer_unordered(MAX_CONCURRENT_READS);
            let has_new_losses: Vec<bool> = reads.collect().await;
            if has_new_losses.contains(&true) {
                watches.notify();
            }
        }
    }

    /// Returns true if a stack's gathering pods have lost more spans than was known.
    async fn find_losses(&self, object: Arc<StackObject>) -> bool {
        let Some((collector, pods)) = self.gathering_pods(&object) else {
            return false;
        };
        self.losses.initialize(&object.key);
        self.losses.keep_pods(&object.key, &pods);
        // With several pods the clients' receiver only distributes spans: the peers' receiver
        // accepts them again.
        let receivers: &[&str] = match collector.replicas {
            1 => &[CLIENT_RECEIVER, PEER_RECEIVER],
            _ => &[PEER_RECEIVER],
        };
        let mut earlier = vec![];
        for pod in &pods {
            earlier.push(self.gather_counters(pod, receivers).await);
        }
        if earlier.iter().all(Option::is_none) {
            return false;
        }
        tokio::time::sleep(collector.gather_wait + RELEASE_LAG).await;
        let mut has_new_losses = false;
        for (pod, earlier) in pods.iter().zip(earlier) {
            let now = self.gather_counters(pod, receivers).await;
            let (Some(earlier), Some(now)) = (earlier, now) else {
                continue;
            };
            let uid = pod.metadata.uid.as_deref().unwrap_or_default();
            let lost = now.lost_since(&earlier).unwrap_or_default();
            has_new_losses |= self.losses.add(&object.key, uid, lost);
        }
        has_new_losses
    }

    async fn gather_counters(&self, pod: &Pod, receivers: &[&str]) -> Option<GatherCounters> {
        let address = pod.status.as_ref()?.pod_ip.as_deref()?;
        // Not logged: the next round reads them again. If a pod stays unreachable, its probes fail
        // too, and the stack's status reports it.
        let metrics = self.collector_probe.metrics(address).await.ok()?;
        Some(GatherCounters::from_metrics(&metrics, receivers))
    }

    /// A stack's own Collector and its gathering pods, if these run the present spec. During a
    /// rollout they may still distribute spans, or hold them for longer.
    fn gathering_pods(&self, object: &StackObject) -> Option<(Box<ManagedCollector>, Vec<Pod>)> {
        let related = self.sources.related_objects(&object.key);
        let parsed = parse(object, &[], jiff::Timestamp::now());
        if !is_settled(&parsed.status, object.generation) {
            return None;
        }
        let stack = validate(&parsed.stack.ok()?).ok()?;
        if !StackHealth::of(&stack, &related).gather.is_complete {
            return None;
        }
        let Collector::Managed(collector) = stack.collector else {
            return None;
        };
        let mut pods = related.pods;
        pods.retain(|pod| belongs_to(pod, Component::Gather));
        Some((collector, pods))
    }
}

/// Returns true if, according to the status, everything runs as this generation of the spec
/// specifies.
fn is_settled(status: &TracingStackStatus, generation: Option<i64>) -> bool {
    let has_ended = |condition: &Condition| {
        condition.kind == Condition::PROGRESSING && condition.status == ConditionStatus::False
    };
    status.observed_generation == generation && status.conditions.iter().any(has_ended)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[rstest::rstest]
    #[case("False", 3, true)]
    #[case("True", 3, false)]
    #[case("False", 2, false)]
    fn pods_are_read_once_a_change_is_complete(
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
}
