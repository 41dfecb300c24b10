//! Pointers to spans and traces: a segment's slot and an index in it, in 32 bits.

use std::num::NonZeroU32;

/// A pointer to a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SpanAt(NonZeroU32);

/// A pointer to a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TraceAt(u32);

impl SpanAt {
    /// The bits that represent no span.
    pub(crate) const NONE: u32 = 0;

    /// Creates a pointer. Slots are 0 to 65,534, so no pointer equals [`Self::NONE`].
    pub(crate) fn new(slot: u16, index: usize) -> Option<Self> {
        // Slot and index have 16 bits each: a segment has at most `Segment::MAX_SPANS` spans.
        let slot = u32::from(slot) + 1;
        NonZeroU32::new(slot << 16 | u32::from(index as u16)).map(Self)
    }

    pub(crate) fn from_bits(bits: u32) -> Option<Self> {
        NonZeroU32::new(bits).map(Self)
    }

    pub(crate) fn to_bits(self) -> u32 {
        self.0.get()
    }

    pub(crate) fn slot(self) -> u16 {
        ((self.0.get() >> 16) - 1) as u16
    }

    pub(crate) fn index(self) -> usize {
        usize::from(self.0.get() as u16)
    }
}

impl TraceAt {
    pub(crate) fn new(slot: u16, index: usize) -> Self {
        Self(u32::from(slot) << 16 | u32::from(index as u16))
    }

    pub(crate) fn slot(self) -> u16 {
        (self.0 >> 16) as u16
    }

    pub(crate) fn index(self) -> usize {
        usize::from(self.0 as u16)
    }
}
