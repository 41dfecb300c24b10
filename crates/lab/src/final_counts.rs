//! The final counts of a lab.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;
use spoor_traces::Totals;

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
    /// The dropped spans of traces that a tail policy did not keep, late ones included.
    pub dropped_by_policy: u64,
    /// The dropped spans that arrived after their traces had been evicted.
    pub dropped_as_late: u64,
    /// The dropped spans with an invalid ID, or with a resource or scope that is too large.
    pub dropped_as_invalid: u64,
    /// The dropped spans for which there was no memory.
    pub dropped_for_memory: u64,
    /// The spans that services could not export, by the reason they reported.
    pub lost: BTreeMap<String, u64>,
}

impl FinalCounts {
    /// Creates the counts from the pipeline's totals and the numbers of spans that services lost. Both
    /// are final once the services have ended and the pipeline has decided on all traces.
    pub(super) fn new(totals: &Totals, lost: BTreeMap<String, u64>) -> Self {
        Self {
            received: totals.received,
            kept: totals.kept,
            dropped: totals.dropped(),
            dropped_by_policy: totals.not_sampled,
            dropped_as_late: totals.late,
            dropped_as_invalid: totals.rejected.total(),
            dropped_for_memory: totals.no_room,
            lost,
        }
    }
}

impl fmt::Display for FinalCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (received, kept) = (self.received, self.kept);
        write!(f, "Stopped. Spans: {received} received, {kept} kept")?;
        if self.dropped == 0 {
            f.write_str(", 0 dropped")?;
        }
        for (spans, reason) in [
            (self.dropped_by_policy, "by tail policies"),
            (
                self.dropped_as_late,
                "as late (their traces had been evicted)",
            ),
            (
                self.dropped_as_invalid,
                "as invalid (an ID, or the size of a resource or scope)",
            ),
            (self.dropped_for_memory, "for lack of memory"),
        ] {
            if spans > 0 {
                write!(f, ", {spans} dropped {reason}")?;
            }
        }
        for (reason, spans) in &self.lost {
            write!(f, ", {spans} lost ({reason})")?;
        }
        f.write_str(".")
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use spoor_traces::Rejected;

    use super::*;

    /// One span with each kind of invalid ID.
    const INVALID: Rejected = Rejected {
        trace_id: 1,
        span_id: 1,
        parent_span_id: 1,
        oversized: 0,
        first_oversized: None,
    };

    #[rstest]
    #[case::none(Totals::default(), "0 dropped")]
    #[case::by_policy(
        Totals { not_sampled: 264, ..Totals::default() },
        "264 dropped by tail policies"
    )]
    #[case::late(
        Totals { late: 1, ..Totals::default() },
        "1 dropped as late (their traces had been evicted)"
    )]
    #[case::all(
        Totals { not_sampled: 264, late: 1, rejected: INVALID, no_room: 2, ..Totals::default() },
        "264 dropped by tail policies, 1 dropped as late (their traces had been evicted), \
         3 dropped as invalid (an ID, or the size of a resource or scope), \
         2 dropped for lack of memory"
    )]
    fn each_dropped_span_has_a_reason(#[case] totals: Totals, #[case] expected: &str) {
        let totals = Totals {
            received: 300 + totals.dropped(),
            kept: 300,
            ..totals
        };
        let line = FinalCounts::new(&totals, BTreeMap::new()).to_string();
        let received = totals.received;
        let whole = format!("Stopped. Spans: {received} received, 300 kept, {expected}.");
        assert_eq!(line, whole);
    }
}
