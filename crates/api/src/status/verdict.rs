//! Conditions get the time since when they are so.

use jiff::Timestamp;

use super::{Condition, ConditionStatus};

/// The longest message, in characters: Kubernetes bounds them, and people stop reading sooner.
const MAX_MESSAGE: usize = 4_000;

/// A condition before it has a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it is so.
    pub status: ConditionStatus,
    /// Why, in one CamelCase word for machines.
    pub reason: &'static str,
    /// Why, for people.
    pub message: String,
}

impl Verdict {
    /// As these say.
    #[must_use]
    pub fn new(status: ConditionStatus, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            reason,
            message: message.into(),
        }
    }
}

/// Verdicts of some kinds as conditions; one whose status is what it was keeps its time.
pub fn conditions(
    verdicts: impl IntoIterator<Item = (&'static str, Verdict)>,
    generation: Option<i64>,
    previous: &[Condition],
    now: Timestamp,
) -> Vec<Condition> {
    let condition = |(kind, verdict): (&'static str, Verdict)| {
        let before = previous
            .iter()
            .find(|before| before.kind == kind && before.status == verdict.status);
        Condition {
            kind: kind.to_owned(),
            status: verdict.status,
            observed_generation: generation,
            last_transition_time: before.map_or_else(
                || in_whole_seconds(now),
                |before| before.last_transition_time.clone(),
            ),
            reason: verdict.reason.to_owned(),
            message: shortened(verdict.message),
        }
    };
    verdicts.into_iter().map(condition).collect()
}

fn shortened(message: String) -> String {
    match message.char_indices().nth(MAX_MESSAGE) {
        Some((end, _)) => format!("{}…", message.get(..end).unwrap_or_default()),
        None => message,
    }
}

/// As Kubernetes writes times.
fn in_whole_seconds(now: Timestamp) -> String {
    Timestamp::from_second(now.as_second())
        .unwrap_or(now)
        .to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn of(status: ConditionStatus, previous: &[Condition], now: &str) -> Condition {
        let verdict = Verdict::new(status, "Reason", "");
        let verdicts = [(Condition::CONVERGED, verdict)];
        conditions(verdicts, Some(2), previous, now.parse().unwrap()).remove(0)
    }

    #[test]
    fn messages_are_bounded() {
        assert_eq!(shortened("é".repeat(MAX_MESSAGE)), "é".repeat(MAX_MESSAGE));
        let longer = shortened("é".repeat(MAX_MESSAGE + 1));
        assert_eq!(longer, format!("{}…", "é".repeat(MAX_MESSAGE)));
    }

    #[test]
    fn the_time_is_of_the_change_and_outlives_a_restart() {
        let first = of(ConditionStatus::False, &[], "2026-01-01T00:00:00.5Z");
        assert_eq!(first.last_transition_time, "2026-01-01T00:00:00Z");
        let stored = [first];
        let same = of(ConditionStatus::False, &stored, "2026-01-01T00:01:00Z");
        assert_eq!(same.last_transition_time, "2026-01-01T00:00:00Z");
        let changed = of(ConditionStatus::True, &stored, "2026-01-01T00:02:00Z");
        assert_eq!(changed.last_transition_time, "2026-01-01T00:02:00Z");
        assert_eq!(changed.observed_generation, Some(2));
    }
}
