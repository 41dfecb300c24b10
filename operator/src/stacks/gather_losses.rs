//! Spans that the gathering tier accepted and never forwarded. The Collector's `groupbytrace`
//! deletes spans that arrive while it releases their trace, and counts no loss. The loss shows only
//! in spans that were accepted and are never released.

mod counters;

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use prometheus_client::{
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

pub use self::counters::GatherCounters;
use crate::kubernetes::watch::Key;

/// The time for which a stack is reported after its last loss.
const REPORT_PERIOD: Duration = Duration::from_secs(600);

type Labels = [(&'static str, String); 2];

/// The losses of each stack's gathering pods.
#[derive(Debug, Default)]
pub struct GatherLosses {
    stacks: Mutex<HashMap<Key, StackLosses>>,
    lost: Family<Labels, Counter>,
}

#[derive(Debug, Default)]
struct StackLosses {
    /// The highest known loss of each pod, by its uid.
    pods: HashMap<String, u64>,
    total: u64,
    last: Option<Instant>,
}

fn labels(stack: &Key) -> Labels {
    let labels = [("namespace", &stack.namespace), ("stack", &stack.name)];
    labels.map(|(name, value)| (name, value.clone()))
}

impl GatherLosses {
    /// Registers the metrics.
    pub fn register(&self, registry: &mut Registry) {
        let help = "Spans that gathering Collectors accepted and never forwarded (a lower bound)";
        registry.register("gather_lost_spans", help, self.lost.clone());
    }

    /// Exports a count of 0 for a stack, so that its first loss is an increase.
    pub fn initialize(&self, stack: &Key) {
        // Known from now on, so that the series ends with the stack.
        self.stacks.lock().entry(stack.clone()).or_default();
        self.lost.get_or_create(&labels(stack)).inc_by(0);
    }

    /// Records how many spans a pod has lost since its start. Returns true if that is more than was
    /// known.
    pub fn add(&self, stack: &Key, pod: &str, lost: u64) -> bool {
        let mut stacks = self.stacks.lock();
        let known = stacks.entry(stack.clone()).or_default();
        let before = known.pods.entry(pod.to_owned()).or_default();
        let more = lost.saturating_sub(*before);
        if more == 0 {
            return false;
        }
        // The counter only grows: a lower reading does not undo a loss.
        *before = lost;
        known.total += more;
        known.last = Some(Instant::now());
        self.lost.get_or_create(&labels(stack)).inc_by(more);
        true
    }

    /// The number of spans that a stack has lost, if it lost some recently.
    #[must_use]
    pub fn recent(&self, stack: &Key) -> Option<u64> {
        let stacks = self.stacks.lock();
        let known = stacks.get(stack)?;
        let is_recent = known.last.is_some_and(|it| it.elapsed() < REPORT_PERIOD);
        is_recent.then_some(known.total)
    }

    /// Forgets stacks that no longer exist, with their metrics.
    pub fn keep_only(&self, exists: impl Fn(&Key) -> bool) {
        self.stacks.lock().retain(|stack, _| {
            let is_kept = exists(stack);
            if !is_kept {
                self.lost.remove(&labels(stack));
            }
            is_kept
        });
    }

    /// Forgets pods that no longer exist.
    pub fn keep_pods(&self, stack: &Key, pods: &[Pod]) {
        if let Some(known) = self.stacks.lock().get_mut(stack) {
            let uids = || pods.iter().filter_map(|pod| pod.metadata.uid.as_ref());
            known.pods.retain(|uid, _| uids().any(|it| it == uid));
        }
    }
}

/// The message of the condition of a stack that loses spans.
#[must_use]
pub fn message(lost: u64) -> String {
    format!(
        "the gathering Collector lost at least {lost} spans that arrived just as gatherWait ended \
         for their trace; raise spec.collector.gatherWait so that whole traces arrive within it"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pod_losses_are_counted_once() {
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

    #[test]
    fn deleted_stacks_have_no_metrics() {
        let losses = GatherLosses::default();
        let [kept, lossless, lossy] = ["kept", "lossless", "lossy"].map(|name| Key {
            namespace: "shop".to_owned(),
            name: name.to_owned(),
        });
        losses.initialize(&kept);
        losses.initialize(&lossless);
        losses.add(&lossy, "pod", 1);
        losses.keep_only(|stack| *stack == kept);
        let has_series = |stack: &Key| losses.lost.get(&labels(stack)).is_some();
        assert_eq!(
            [&kept, &lossless, &lossy].map(has_series),
            [true, false, false]
        );
    }
}
