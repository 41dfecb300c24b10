//! The times at which traces are due.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::log::TraceAt;

/// The precision of due times. Traces are due at most this much late, and never early.
const TICK: Duration = Duration::from_millis(10);

/// The time before the start at which ticks begin. After a replay, traces that were due before still
/// wait for the spans of peers, for an hour at most, the longest duration of a trace.
const BEFORE_START: Duration = Duration::from_secs(3600);

/// The number of ticks that have the same mark, 0.1 s. Each mark takes 24 bytes, so that those of
/// every tick would take more than rare traces do.
const TICKS_PER_MARK: u64 = 10;

/// A time, in ticks since [`BEFORE_START`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tick(u64);

impl Tick {
    /// The note of a trace that is due at this tick.
    pub(super) fn note(self) -> u32 {
        (self.0 % NOTES) as u32
    }

    /// The tick of a note: of the ticks with this note, the one nearest to this tick.
    pub(super) fn of_note(self, note: u32) -> Self {
        let ahead = (u64::from(note) + NOTES - self.0 % NOTES) % NOTES;
        match ahead < NOTES / 2 {
            true => Self(self.0 + ahead),
            false => Self((self.0 + ahead).saturating_sub(NOTES)),
        }
    }

    /// The mark of a trace that is due at this tick at the latest.
    pub(super) fn mark(self) -> u64 {
        self.0 / TICKS_PER_MARK
    }

    /// The first tick with this mark.
    pub(super) fn of_mark(mark: u64) -> Self {
        Self(mark.saturating_mul(TICKS_PER_MARK))
    }
}

/// The number of different notes. Traces wait for less than half as many ticks, 124 days.
const NOTES: u64 = 1 << 31;

/// The traces that wait, by the time at which they are due. A trace may have several entries, of
/// which one is valid: the one that its note names. The others are ignored when their time comes,
/// which costs less than finding and removing them.
pub(super) struct Timers {
    origin: Instant,
    by_tick: BTreeMap<Tick, Vec<TraceAt>>,
}

impl Timers {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self {
            origin: now.checked_sub(BEFORE_START).unwrap_or(now),
            by_tick: BTreeMap::new(),
        }
    }

    /// The first tick that is not before this time.
    pub(super) fn tick_at(&self, time: Instant) -> Tick {
        let since = time.saturating_duration_since(self.origin);
        Tick(u64::try_from(since.as_nanos().div_ceil(TICK.as_nanos())).unwrap_or(u64::MAX))
    }

    pub(super) fn add(&mut self, due: Tick, trace: TraceAt) {
        self.by_tick.entry(due).or_default().push(trace);
    }

    /// Removes an entry that is due by now.
    pub(super) fn next_due(&mut self, now: Instant) -> Option<(Tick, TraceAt)> {
        let since = now.saturating_duration_since(self.origin).as_nanos();
        let mut first = self.by_tick.first_entry()?;
        let tick = *first.key();
        if since < u128::from(tick.0) * TICK.as_nanos() {
            return None;
        }
        let trace = first.get_mut().pop();
        if first.get().is_empty() {
            first.remove();
        }
        trace.map(|trace| (tick, trace))
    }

    /// The entries that [`Self::next_due`] removes next, in reverse order: at most this many, of the
    /// first tick only.
    pub(super) fn upcoming(&self, max: usize) -> &[TraceAt] {
        let first = self.by_tick.first_key_value();
        let entries = first.map(|(_, entries)| entries.as_slice());
        let entries = entries.unwrap_or_default();
        let start = entries.len().saturating_sub(max);
        entries.get(start..).unwrap_or_default()
    }

    pub(super) fn clear(&mut self) {
        self.by_tick.clear();
    }
}
