//! The note in a claim's Lease of an installation that was refused.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;

/// The annotation that names the installation that was refused.
const REFUSED: &str = "spoor.dev/refused";
/// The annotation with the time at which it was refused last.
const REFUSED_AT: &str = "spoor.dev/refused-at";

/// An installation that was refused, and when its note was first seen as it is. As with a Lease
/// no clock is compared with another machine's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) by: String,
    pub(super) at: String,
    pub(super) since: Instant,
}

impl Mark {
    /// The note in this Lease; `before` is what was seen there last.
    pub(super) fn of(lease: &Lease, before: Option<Self>, now: Instant) -> Option<Self> {
        let annotations = lease.metadata.annotations.as_ref()?;
        let by = annotations.get(REFUSED)?.clone();
        let at = annotations.get(REFUSED_AT).cloned().unwrap_or_default();
        let before = before.filter(|before| before.by == by && before.at == at);
        let since = before.map_or(now, |before| before.since);
        Some(Self { by, at, since })
    }

    /// Whether whoever wrote it still asks.
    pub(super) fn is_fresh(&self, now: Instant, duration: Duration) -> bool {
        now.saturating_duration_since(self.since) < duration
    }
}

/// Notes that this installation was refused.
pub(super) fn mark(lease: &mut Lease, by: &str, now: Timestamp) {
    let annotations = lease.metadata.annotations.get_or_insert_default();
    annotations.insert(REFUSED.to_owned(), by.to_owned());
    annotations.insert(REFUSED_AT.to_owned(), now.to_string());
}

/// Removes the note.
pub(super) fn unmark(lease: &mut Lease) {
    if let Some(annotations) = &mut lease.metadata.annotations {
        annotations.remove(REFUSED);
        annotations.remove(REFUSED_AT);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn mark_is_fresh_while_it_is_renewed() {
        const DURATION: Duration = Duration::from_secs(60);
        let start = Instant::now();
        let mut lease = Lease::default();
        assert_eq!(Mark::of(&lease, None, start), None);
        mark(&mut lease, "two/other", Timestamp::UNIX_EPOCH);
        let first = Mark::of(&lease, None, start).unwrap();
        let later = start + DURATION;
        let same = Mark::of(&lease, Some(first.clone()), later).unwrap();
        assert!(first.is_fresh(start, DURATION));
        assert!(!same.is_fresh(later, DURATION));
        mark(&mut lease, "two/other", Timestamp::now());
        let renewed = Mark::of(&lease, Some(same), later).unwrap();
        assert!(renewed.is_fresh(later, DURATION));
        unmark(&mut lease);
        assert_eq!(Mark::of(&lease, Some(renewed), later), None);
    }
}
