//! Decisions that late spans follow.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use hashbrown::HashTable;

/// The decision on a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// None of its spans is kept.
    Dropped,
    /// Kept for the reason with this number.
    Kept(u32),
}

/// The decisions of the last minutes, by the hash of the trace ID.
///
/// An entry has 8 bytes: 48 bits of the hash and 16 for the decision. With a million remembered
/// traces, a new trace is mistaken for one of them with a probability of 1 in 280 million.
/// Generations are forgotten as a whole.
pub(crate) struct Decisions {
    generations: VecDeque<Generation>,
    /// The most entries, over all generations.
    max: usize,
    retention: Duration,
}

struct Generation {
    began: Instant,
    entries: HashTable<Entry>,
}

#[derive(Clone, Copy)]
struct Entry(u64);

/// The number of generations that the retention consists of.
const GENERATIONS: u32 = 3;

impl Entry {
    const DECISION_BITS: u32 = 16;
    const DECISION_MASK: u64 = (1 << Self::DECISION_BITS) - 1;

    fn new(hash: u64, decision: Decision) -> Self {
        let number = match decision {
            Decision::Dropped => 0,
            // Far fewer reasons are recorded.
            Decision::Kept(reason) => (u64::from(reason) + 1).min(Self::DECISION_MASK),
        };
        Self(Self::tag(hash) | number)
    }

    fn decision(self) -> Decision {
        match (self.0 & Self::DECISION_MASK) as u32 {
            0 => Decision::Dropped,
            reason => Decision::Kept(reason - 1),
        }
    }

    /// The part of a hash that is remembered, which also determines its place in the table.
    fn tag(hash: u64) -> u64 {
        hash & !Self::DECISION_MASK
    }

    /// The tag as a hash: tables use the lowest bits.
    fn table_hash(tag: u64) -> u64 {
        tag.rotate_right(Self::DECISION_BITS) ^ tag
    }
}

impl Decisions {
    /// Remembers at most `max` decisions, each for at least `retention` unless there are more.
    pub(crate) fn new(max: usize, retention: Duration) -> Self {
        Self {
            generations: VecDeque::new(),
            max,
            retention,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.generations.is_empty()
    }

    #[inline]
    pub(crate) fn find(&self, hash: u64) -> Option<Decision> {
        let tag = Entry::tag(hash);
        let is_same = |entry: &Entry| Entry::tag(entry.0) == tag;
        let newest_first = self.generations.iter().rev();
        let mut found = newest_first
            .filter_map(|generation| generation.entries.find(Entry::table_hash(tag), is_same));
        found.next().map(|entry| entry.decision())
    }

    /// Remembers the decision on a trace, which has none so far.
    pub(crate) fn remember(&mut self, hash: u64, decision: Decision, now: Instant) {
        let age = self.retention / GENERATIONS;
        let max = self.max / (GENERATIONS as usize + 1);
        let is_full = |newest: &Generation| {
            newest.entries.len() >= max || now.saturating_duration_since(newest.began) >= age
        };
        if self.generations.back().is_none_or(is_full) {
            // With one more than the retention consists of, the oldest decisions have passed it,
            // or there are too many.
            if self.generations.len() > GENERATIONS as usize {
                self.generations.pop_front();
            }
            self.generations.push_back(Generation {
                began: now,
                entries: HashTable::new(),
            });
        }
        let Some(newest) = self.generations.back_mut() else {
            return;
        };
        let entry = Entry::new(hash, decision);
        let table_hash = |entry: &Entry| Entry::table_hash(Entry::tag(entry.0));
        newest
            .entries
            .insert_unique(table_hash(&entry), entry, table_hash);
    }

    /// Forgets the generations whose last decision has passed the retention.
    pub(crate) fn forget(&mut self, now: Instant) {
        let age = self.retention + self.retention / GENERATIONS;
        while let Some(oldest) = self.generations.front()
            && now.saturating_duration_since(oldest.began) >= age
        {
            self.generations.pop_front();
        }
    }

    /// Forgets all decisions, and frees their memory.
    pub(crate) fn clear(&mut self) {
        self.generations.clear();
    }

    /// The memory in use, in bytes.
    pub(crate) fn allocated(&self) -> usize {
        let tables = self.generations.iter();
        tables.map(|it| it.entries.allocation_size()).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Decision, Decisions};

    const RETENTION: Duration = Duration::from_secs(600);

    fn hash(number: u64) -> u64 {
        number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    #[test]
    fn decisions_are_remembered_for_the_retention() {
        let mut decisions = Decisions::new(1_000, RETENTION);
        let start = Instant::now();
        decisions.remember(hash(1), Decision::Dropped, start);
        for second in 1..=600 {
            let now = start + Duration::from_secs(second);
            decisions.forget(now);
            decisions.remember(hash(second + 1), Decision::Kept(second as u32), now);
        }
        assert_eq!(decisions.find(hash(1)), Some(Decision::Dropped));
        assert_eq!(decisions.find(hash(601)), Some(Decision::Kept(600)));
        assert_eq!(decisions.find(hash(602)), None);
        decisions.forget(start + RETENTION * 2);
        assert_eq!(decisions.find(hash(1)), None);
        decisions.forget(start + RETENTION * 3);
        assert!(decisions.is_empty());
    }

    #[test]
    fn decisions_are_bounded() {
        const MAX: usize = 100_000;
        let mut decisions = Decisions::new(MAX, RETENTION);
        let now = Instant::now();
        for number in 0..1_000_000 {
            decisions.remember(hash(number), Decision::Kept(7), now);
        }
        let remembered = (0..1_000_000).filter(|number| decisions.find(hash(*number)).is_some());
        let remembered = remembered.count();
        assert!((MAX / 2..=MAX).contains(&remembered), "{remembered}");
        let bytes = decisions.allocated() / remembered;
        assert!(bytes <= 21, "{bytes}");
    }
}
