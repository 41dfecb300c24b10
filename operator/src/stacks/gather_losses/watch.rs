//! Reads the counters of gathering pods at intervals, and adds up the losses that they show.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use spoor_api::{
    stack::{Collector, ManagedCollector},
    status::{Condition, ConditionStatus},
    tracing_stack::TracingStackStatus,
};

use super::{
    super::{
        build::labels::Component,
        children::is_of,
        collector::{CLIENTS, PEERS},
        dereference::Seen,
        preprocess::preprocess,
        reconcile::Reconciler,
        status::Health,
        validate::validate,
    },
    GatherReading,
};
use crate::kubernetes::watch::Watches;

/// Between two looks.
const LOOK_INTERVAL: Duration = Duration::from_secs(30);
/// A gathering pod hands on what it took this long after `gatherWait` at the latest.
const RELEASE_LAG: Duration = Duration::from_secs(2);
/// Stacks that are looked at together.
const AT_ONCE: usize = 16;

impl Reconciler {
    /// Looks at all gathering pods now and then, for ever. A new loss makes the watches tick.
    pub(in crate::stacks) async fn watch_losses(&self, watches: &Watches) {
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
        self.losses.begin(&seen.key);
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

/// True where what runs is what this generation of a stack asks for, by its status.
fn is_settled(status: &TracingStackStatus, generation: Option<i64>) -> bool {
    let is_still = |condition: &Condition| {
        condition.kind == "Progressing" && condition.status == ConditionStatus::False
    };
    status.observed_generation == generation && status.conditions.iter().any(is_still)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

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
}
