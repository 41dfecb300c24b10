//! The decisions of the pipeline's tail sampler, which the control plane counts like those of any
//! other sampler.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use spoor_control::{Control, TailDecisions};
use spoor_policy::{PolicyKey, TailTable, Version};
use spoor_traces::{Pipeline, PolicyDecisions};

/// The minimum interval between reads without a change of rules: many statuses may be requested one
/// by one.
const MIN_READ_INTERVAL: Duration = Duration::from_millis(100);

/// The decisions that the control plane has.
#[derive(Debug)]
pub(super) struct PipelineDecisions {
    /// The number of the rules in force.
    sequence: u64,
    /// The counts as last read, by the number of the rules and the policy.
    counted: BTreeMap<(u64, PolicyKey), TailDecisions>,
    /// The time of the last read.
    read_at: Instant,
}

impl PipelineDecisions {
    pub(super) fn new() -> Self {
        Self {
            sequence: 0,
            counted: BTreeMap::new(),
            read_at: Instant::now(),
        }
    }

    /// Puts rules in force, and adds the decisions by the former ones to the control plane, where
    /// these have to be published still.
    pub(super) fn change_rules(
        &mut self,
        table: TailTable,
        pipeline: &Pipeline,
        control: &Control,
    ) {
        let former = self.sequence;
        self.sequence += 1;
        let version = Version {
            epoch: 0,
            sequence: self.sequence,
        };
        pipeline.set_counted_tail(version, table);
        self.read(former, pipeline, control);
    }

    /// Adds the decisions since the last call to the control plane.
    pub(super) fn update(&mut self, pipeline: &Pipeline, control: &Control) {
        if self.read_at.elapsed() >= MIN_READ_INTERVAL {
            self.read(self.sequence, pipeline, control);
        }
    }

    /// Adds the decisions by rules up to a number.
    fn read(&mut self, newest: u64, pipeline: &Pipeline, control: &Control) {
        let now = Instant::now();
        let mut counted = BTreeMap::new();
        for count in pipeline.tail_counts() {
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
                control.add_tail_decisions(policy, increase, (self.read_at, now));
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
