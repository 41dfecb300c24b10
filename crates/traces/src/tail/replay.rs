//! Brings a sampler back to where an earlier process was, from the records of its journal.

use std::time::Instant;

use super::{Decision, TailSampler, decide::Decided};
use crate::{KeepReason, Totals, TraceId, output::Output, scan::Scanned};

impl TailSampler {
    /// Accepts a request of a journal: does what [`Self::accept`] did with it at that time, which
    /// gathered new traces or passed them straight on. Decides on no trace.
    pub(crate) fn replay(
        &mut self,
        scanned: &Scanned<'_>,
        is_gathering: bool,
        time: Instant,
        output: &mut impl Output,
    ) {
        self.add(scanned, is_gathering, time, output);
        self.decisions.forget(time);
        // Frees the segments of traces that are decided.
        self.gathering.oldest();
    }

    /// Applies a decision of a journal.
    pub(crate) fn replay_decision(
        &mut self,
        id: TraceId,
        kept: Option<KeepReason>,
        time: Instant,
        output: &mut impl Output,
    ) {
        let hash = self.hasher.hash(id);
        if let Some(at) = self.gathering.find(id, hash) {
            // The earlier process has counted the policy's decision.
            self.decide_by(at, time, output, |_, _, _, _| Decided {
                kept,
                policy: None,
            });
        } else if self.decisions.find(hash).is_none() {
            // The journal has the trace's spans no longer, since they were sent or dropped.
            let decision = match kept {
                Some(kept) => Decision::Kept(output.record_reason(&kept)),
                None => Decision::Dropped,
            };
            self.decisions.remember(hash, decision, time);
        }
    }

    /// Recognises traces that were passed straight on, the last of them at this time.
    pub(crate) fn replay_passed(&mut self, time: Instant) {
        self.last_kept_immediately = self.last_kept_immediately.max(Some(time));
    }

    /// Counts only the spans that a replay has brought back, of which these are sent again. The
    /// traces that wait are due after a decision wait at the earliest.
    pub(crate) fn end_replay(&mut self, resent: u64) {
        if self.gathering.len() > 0 {
            self.due_from = Some(Instant::now() + self.settings.decision_wait);
        }
        let replayed = self.gathering.spans() as u64 + resent;
        self.totals = Totals {
            received: replayed,
            kept: resent,
            replayed,
            ..Totals::default()
        };
    }
}
