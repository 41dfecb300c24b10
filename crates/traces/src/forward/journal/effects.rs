//! The effects of a journal's records.

use super::{Moved, Routed, remembered::Code};
use crate::{KeepReason, TraceId, forward::position::Position};

/// The decision on a trace, as it was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::forward) enum Outcome {
    Dropped,
    /// Passed straight on.
    Passed,
    Kept(KeepReason),
}

impl Outcome {
    pub(super) fn new(code: Code, reasons: &[KeepReason]) -> Self {
        match (code, code.reason()) {
            (Code::PASSED, _) => Self::Passed,
            (_, None) => Self::Dropped,
            (_, Some(number)) => {
                let reason = reasons.get(number).cloned();
                Self::Kept(reason.unwrap_or(KeepReason::UnnamedPolicy))
            }
        }
    }
}

/// The state that a journal's records are applied to, in their order.
pub(in crate::forward) trait Replay {
    /// The spans before this place were sent. Called first, and again with an earlier place when
    /// records are skipped.
    fn confirmed(&mut self, confirmed: Position);

    /// The effects of this record follow, which was written at this time. The number of a record in
    /// a deleted segment is given as 0.
    fn begin(&mut self, record: u64, segment: u64, time: u64);

    /// A request; returns the traces that it passed straight on, or `None` if it is invalid.
    fn request(&mut self, request: &[u8], is_gathered: bool) -> Option<Vec<TraceId>>;

    /// The parts for peers of the record that has begun. The spans that stay follow as a request.
    fn parts(&mut self, routed: &Routed<'_>);

    /// A part that was moved to this segment.
    fn moved(&mut self, moved: &Moved<'_>, segment: u64);

    /// A peer has all parts for it up to this sequence.
    fn forwarded(&mut self, peer: u16, sequence: u64);

    /// A decision.
    fn decision(&mut self, id: TraceId, outcome: Outcome);
}
