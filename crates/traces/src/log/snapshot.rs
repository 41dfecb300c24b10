//! Snapshots of a log, which are read without blocking its writer.

use std::sync::Arc;

use super::{Log, Segment, SpanEntry, TraceEntry};

impl Log {
    /// Takes a snapshot of all segments.
    pub(crate) fn snapshot(&self) -> Snapshot {
        // Sealed segments are shared. Only the active one is copied, usually a megabyte.
        let mut slots = self.slots.clone();
        let mut order: Vec<u16> = self.order.iter().copied().collect();
        if let Some(entry) = slots.get_mut(usize::from(self.active_slot)) {
            *entry = Some(Arc::new(self.active.clone()));
            order.push(self.active_slot);
        }
        Snapshot { slots, order }
    }
}

/// The segments of a log at one time.
pub(crate) struct Snapshot {
    slots: Vec<Option<Arc<Segment>>>,
    order: Vec<u16>,
}

impl Snapshot {
    /// The segments, the newest first.
    pub(crate) fn newest_first(&self) -> impl Iterator<Item = &Segment> {
        self.order
            .iter()
            .rev()
            .filter_map(|slot| self.segment(*slot))
    }

    /// The names of a namespace's services that have spans here, with repetitions.
    pub(crate) fn services_in(&self, namespace: &str) -> impl Iterator<Item = &str> {
        let services = self.newest_first().flat_map(|segment| {
            let sources = segment.sources.iter();
            sources.filter_map(|source| segment.service_of(source))
        });
        services
            .filter(move |(of, _)| *of == namespace)
            .map(|(_, service)| service)
    }

    fn segment(&self, slot: u16) -> Option<&Segment> {
        self.slots.get(usize::from(slot))?.as_deref()
    }

    /// The trace of a span in a segment, with the serial number of the trace's segment; `None` if
    /// the trace has been evicted.
    pub(crate) fn trace_of(&self, of: &Segment, span: &SpanEntry) -> Option<(u64, &TraceEntry)> {
        let segment = self.segment(span.trace.slot())?;
        // A trace's segment is never newer than its spans, so this one has replaced it in the slot.
        if segment.serial > of.serial {
            return None;
        }
        Some((segment.serial, segment.traces.get(span.trace.index())?))
    }
}
