//! What a lab knows at its end.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;
use spoor_control::Control;
use spoor_traces::Pipeline;

/// Where all spans went.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stopped {
    /// Spans that reached the pipeline.
    pub received: u64,
    /// Spans among them that were kept.
    pub kept: u64,
    /// Spans among them that a tail policy did not want, or that were of no use.
    pub dropped: u64,
    /// Spans that did not reach it, by the reason that their service gave.
    pub lost: BTreeMap<String, u64>,
}

impl Stopped {
    /// As it is once the services have ended and the pipeline has decided about everything.
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
            lost,
        }
    }
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            received,
            kept,
            dropped,
            lost,
        } = self;
        write!(
            f,
            "Stopped. Spans: {received} received, {kept} kept, {dropped} dropped"
        )?;
        for (reason, spans) in lost {
            write!(f, ", {spans} lost ({reason})")?;
        }
        f.write_str(".")
    }
}
