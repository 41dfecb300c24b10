//! The final counts of a lab.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;
use spoor_control::Control;
use spoor_traces::Pipeline;

/// The numbers of spans kept, dropped and lost.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FinalCounts {
    /// The spans received by the pipeline.
    pub received: u64,
    /// The received spans that were kept.
    pub kept: u64,
    /// The received spans that were dropped, for any reason.
    pub dropped: u64,
    /// The dropped spans of traces that a tail policy did not keep.
    pub dropped_by_policy: u64,
    /// The spans that services could not export, by the reason they reported.
    pub lost: BTreeMap<String, u64>,
}

impl FinalCounts {
    /// Collects the counts, once the services have ended and the pipeline has decided on all
    /// traces.
    pub(super) fn of(pipeline: &Pipeline, control: &Control) -> Self {
        let totals = pipeline.totals();
        let mut lost = BTreeMap::new();
        for instance in control.instances() {
            for (reason, spans) in instance.spans_dropped {
                *lost.entry(reason).or_default() += spans;
            }
        }
        Self {
            received: totals.received,
            kept: totals.kept,
            dropped: totals.dropped(),
            dropped_by_policy: totals.not_sampled,
            lost,
        }
    }
}

impl fmt::Display for FinalCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            received,
            kept,
            dropped,
            dropped_by_policy,
            lost,
        } = self;
        write!(f, "Stopped. Spans: {received} received, {kept} kept")?;
        if *dropped_by_policy > 0 {
            write!(f, ", {dropped_by_policy} dropped by tail policies")?;
        }
        // Other reasons are an invalid ID or lack of memory; the lab's metrics distinguish them.
        match (
            dropped.saturating_sub(*dropped_by_policy),
            dropped_by_policy,
        ) {
            (others, 0) => write!(f, ", {others} dropped")?,
            (0, _) => {}
            (others, _) => write!(
                f,
                ", {others} dropped as invalid or late, or for lack of memory"
            )?,
        }
        for (reason, spans) in lost {
            write!(f, ", {spans} lost ({reason})")?;
        }
        f.write_str(".")
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::none(0, 0, "300 kept, 0 dropped.")]
    #[case::by_policy(264, 264, "300 kept, 264 dropped by tail policies.")]
    #[case::invalid(2, 0, "300 kept, 2 dropped.")]
    #[case::both(
        266,
        264,
        "264 dropped by tail policies, 2 dropped as invalid or late, or for lack of memory."
    )]
    fn counts_drops_by_cause(#[case] dropped: u64, #[case] by_policy: u64, #[case] expected: &str) {
        let counts = FinalCounts {
            received: 300 + dropped,
            kept: 300,
            dropped,
            dropped_by_policy: by_policy,
            lost: BTreeMap::new(),
        };
        let line = counts.to_string();
        assert!(line.ends_with(expected), "{line}");
    }
}
