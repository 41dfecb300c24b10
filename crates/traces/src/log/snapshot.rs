//! Snapshots of a log, which are read without blocking its writer.

use std::sync::{Arc, Weak};

use super::{Log, Segment, SpanEntry};
use crate::TraceId;

impl Log {
    /// Takes a snapshot of all segments.
    pub(crate) fn snapshot(&self) -> Snapshot {
        // Sealed segments are shared. Only the active one is copied, usually a megabyte.
        let active = Arc::new(self.active.clone());
        let sealed = self.slots.iter().map(Option::as_ref);
        let mut slots: Vec<_> = sealed
            .map(|segment| segment.map_or_else(Weak::new, Arc::downgrade))
            .collect();
        let mut order: Vec<u16> = self.order.iter().copied().collect();
        if let Some(entry) = slots.get_mut(usize::from(self.active_slot)) {
            *entry = Arc::downgrade(&active);
            order.push(self.active_slot);
        }
        Snapshot {
            slots,
            order,
            _active: active,
        }
    }
}

/// The segments of a log at one time, except those that the log has evicted or freed since. A
/// slow reader would otherwise keep as much memory as the log may use, which the log no longer
/// counts.
pub(crate) struct Snapshot {
    slots: Vec<Weak<Segment>>,
    order: Vec<u16>,
    _active: Arc<Segment>,
}

impl Snapshot {
    /// The segments with their slots, the newest first. An evicted one is freed once the reader
    /// drops it.
    pub(crate) fn newest_first(&self) -> impl Iterator<Item = (u16, Arc<Segment>)> {
        let slots = self.order.iter().rev();
        slots.filter_map(|slot| Some((*slot, self.segment(*slot)?)))
    }

    fn segment(&self, slot: u16) -> Option<Arc<Segment>> {
        self.slots.get(usize::from(slot))?.upgrade()
    }

    /// The trace of a span, given the span's slot and segment: the serial number of the trace's
    /// segment, the trace's start and its ID; `None` if the trace has been evicted.
    pub(crate) fn trace_of(
        &self,
        slot: u16,
        span_segment: &Segment,
        span: &SpanEntry,
    ) -> Option<(u64, u64, TraceId)> {
        let other;
        // Most traces are in the segment of their spans, which the reader has already.
        let segment = match span.trace.slot() == slot {
            true => span_segment,
            false => {
                other = self.segment(span.trace.slot())?;
                &*other
            }
        };
        // A trace's segment is never newer than those of its spans: a newer one in its slot has
        // replaced it.
        if segment.serial > span_segment.serial {
            return None;
        }
        let trace = segment.traces.get(span.trace.index())?;
        Some((segment.serial, trace.start(), trace.id))
    }
}
