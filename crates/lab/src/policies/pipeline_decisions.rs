//! The decisions of the pipeline's tail sampler, which the control plane counts like those of any
//! other sampler.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use spoor_control::{Control, TailDecisions};
use spoor_policy::{PolicyKey, Resolution, Version};
use spoor_traces::{Pipeline, PolicyDecisions};

/// The minimum interval between reads without a change of rules: many statuses may be requested one
/// by one.
const MIN_READ_INTERVAL: Duration = Duration::from_millis(100);

/// Adds the pipeline's decisions to the counts of the control plane.
pub(super) struct PipelineDecisions {
    control: Control,
    pipeline: Pipeline,
    /// The number of the rules in force.
    sequence: u64,
    /// The counts as last read, by the number of the rules and the policy.
    counted: BTreeMap<(u64, PolicyKey), TailDecisions>,
    /// The time of the last read.
    read_at: Instant,
}

impl PipelineDecisions {
    pub(super) fn new(control: &Control, pipeline: &Pipeline) -> Self {
        Self {
            control: control.clone(),
            pipeline: pipeline.clone(),
            sequence: 0,
            counted: BTreeMap::new(),
            read_at: Instant::now(),
        }
    }

    /// Puts resolved policies in force and publishes them. In between, it adds the decisions by the
    /// former tail rules to the control plane, which regards all decisions as made by the published
    /// rules.
    pub(super) fn publish(&mut self, resolution: &Resolution) -> Version {
        let former = self.sequence;
        self.sequence += 1;
        let version = Version {
            epoch: 0,
            sequence: self.sequence,
        };
        // Before the version is published, since its status says that the tail rules are in force.
        let table = resolution.tail.clone();
        self.pipeline.set_counted_tail(version, table);
        self.read(former);
        self.control.publish(resolution.clone())
    }

    /// Adds the decisions made since the last read, unless that was a moment ago.
    pub(super) fn update(&mut self) {
        if self.read_at.elapsed() >= MIN_READ_INTERVAL {
            self.read(self.sequence);
        }
    }

    /// Adds the decisions by the rules with numbers up to `newest`.
    fn read(&mut self, newest: u64) {
        let now = Instant::now();
        let mut counted = BTreeMap::new();
        for count in self.pipeline.tail_counts() {
            let sequence = count.version.sequence;
            if sequence > newest {
                continue;
            }
            let key = (sequence, count.policy);
            let decisions = decisions(count.decisions);
            let before = self.counted.get(&key).cloned().unwrap_or_default();
            // Counts never decrease.
            let increase = decisions.checked_since(&before).unwrap_or_default();
            if increase.decided() > 0 {
                let (_, policy) = &key;
                let period = (self.read_at, now);
                self.control.add_tail_decisions(policy, increase, period);
            }
            counted.insert(key, decisions);
        }
        self.counted = counted;
        self.read_at = now;
    }
}

fn decisions(of_policy: PolicyDecisions) -> TailDecisions {
    TailDecisions {
        by_rule: of_policy.rules.into_iter().collect(),
        unmatched: of_policy.unmatched,
        unmatched_kept: of_policy.unmatched_kept,
    }
}
