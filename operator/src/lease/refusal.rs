//! The annotations on a claim's Lease that name an installation which was refused.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;

/// The annotation with the identity of the refused installation.
const REFUSED_ANNOTATION: &str = "spoor.dev/refused";
/// The annotation with the time of the last refusal.
const REFUSED_AT_ANNOTATION: &str = "spoor.dev/refused-at";

/// A refused installation, and the time at which its note was first observed with its current
/// content. As with the lease itself, no two machines' clocks are compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RefusalNote {
    pub(super) refused: String,
    pub(super) at: String,
    pub(super) since: Instant,
}

impl RefusalNote {
    /// Reads the note of a Lease. `before` is the note that was read last.
    pub(super) fn of(lease: &Lease, before: Option<Self>, now: Instant) -> Option<Self> {
        let annotations = lease.metadata.annotations.as_ref()?;
        let refused = annotations.get(REFUSED_ANNOTATION)?.clone();
        let at = annotations.get(REFUSED_AT_ANNOTATION);
        let at = at.cloned().unwrap_or_default();
        // The other installation rewrites the time as long as it tries, so an unchanged note means
        // that it has stopped.
        let before = before.filter(|before| before.refused == refused && before.at == at);
        let since = before.map_or(now, |before| before.since);
        Some(Self { refused, at, since })
    }

    /// Returns true if the refused installation still tries to claim the namespace.
    pub(super) fn is_fresh(&self, now: Instant, duration: Duration) -> bool {
        now.saturating_duration_since(self.since) < duration
    }
}

/// Adds a note that this installation was refused.
pub(super) fn add(lease: &mut Lease, refused: &str, now: Timestamp) {
    let annotations = lease.metadata.annotations.get_or_insert_default();
    annotations.insert(REFUSED_ANNOTATION.to_owned(), refused.to_owned());
    annotations.insert(REFUSED_AT_ANNOTATION.to_owned(), now.to_string());
}

/// Removes the note.
pub(super) fn remove(lease: &mut Lease) {
    if let Some(annotations) = &mut lease.metadata.annotations {
        annotations.remove(REFUSED_ANNOTATION);
        annotations.remove(REFUSED_AT_ANNOTATION);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn note_is_fresh_while_it_is_renewed() {
        const DURATION: Duration = Duration::from_secs(60);
        let start = Instant::now();
        let mut lease = Lease::default();
        assert_eq!(RefusalNote::of(&lease, None, start), None);
        add(&mut lease, "two/other", Timestamp::UNIX_EPOCH);
        let first = RefusalNote::of(&lease, None, start).unwrap();
        let later = start + DURATION;
        let same = RefusalNote::of(&lease, Some(first.clone()), later).unwrap();
        assert!(first.is_fresh(start, DURATION));
        assert!(!same.is_fresh(later, DURATION));
        add(&mut lease, "two/other", Timestamp::now());
        let renewed = RefusalNote::of(&lease, Some(same), later).unwrap();
        assert!(renewed.is_fresh(later, DURATION));
        remove(&mut lease);
        assert_eq!(RefusalNote::of(&lease, Some(renewed), later), None);
    }
}
