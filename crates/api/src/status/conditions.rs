//! Conditions with the time of their last change.

use jiff::Timestamp;
use spoor_policy::message::shortened;

use super::{Condition, ConditionStatus};

/// The longest message, in characters. Kubernetes allows 32768, more than people read.
const MAX_MESSAGE_CHARS: usize = 4_000;

/// A condition before it has a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConditionUpdate {
    /// The status.
    pub status: ConditionStatus,
    /// The reason as a CamelCase word, for machines.
    pub reason: &'static str,
    /// The reason, for people.
    pub message: String,
}

impl ConditionUpdate {
    /// A condition with this status, reason and message.
    #[must_use]
    pub fn new(status: ConditionStatus, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            reason,
            message: message.into(),
        }
    }
}

/// Adds times to conditions. One whose status has not changed keeps its time.
pub fn conditions(
    updates: impl IntoIterator<Item = (&'static str, ConditionUpdate)>,
    generation: Option<i64>,
    previous: &[Condition],
    now: Timestamp,
) -> Vec<Condition> {
    let condition = |(kind, update): (&'static str, ConditionUpdate)| {
        // As in Kubernetes, a new reason or message is not a transition.
        let mut before = previous.iter();
        let before = before.find(|it| it.kind == kind && it.status == update.status);
        Condition {
            kind: kind.to_owned(),
            status: update.status,
            observed_generation: generation,
            last_transition_time: before.map_or_else(
                || in_whole_seconds(now),
                |before| before.last_transition_time.clone(),
            ),
            reason: update.reason.to_owned(),
            message: shortened(&update.message, MAX_MESSAGE_CHARS).into_owned(),
        }
    };
    updates.into_iter().map(condition).collect()
}

/// Formats a time as Kubernetes does, in whole seconds.
fn in_whole_seconds(now: Timestamp) -> String {
    let seconds = Timestamp::from_second(now.as_second());
    seconds.unwrap_or(now).to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn of(status: ConditionStatus, previous: &[Condition], now: &str) -> Condition {
        let update = ConditionUpdate::new(status, "Reason", "");
        let updates = [(Condition::CONVERGED, update)];
        conditions(updates, Some(2), previous, now.parse().unwrap()).remove(0)
    }

    #[test]
    fn messages_are_bounded() {
        let longest = "é".repeat(MAX_MESSAGE_CHARS);
        for (message, expected) in [
            (longest.clone(), longest.clone()),
            (longest.clone() + "é", longest + "…"),
        ] {
            let update = ConditionUpdate::new(ConditionStatus::True, "Reason", message);
            let updates = [(Condition::CONVERGED, update)];
            let written = conditions(updates, None, &[], Timestamp::UNIX_EPOCH);
            assert_eq!(written[0].message, expected);
        }
    }

    #[test]
    fn transition_time_survives_a_restart() {
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
