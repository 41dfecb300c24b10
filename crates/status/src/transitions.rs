//! Conditions get the time since when they are so.

use jiff::Timestamp;
use spoor_api::status::Condition;

use crate::conditions::Verdict;

/// The longest message, in characters.
const MAX_MESSAGE: usize = 4_000;

/// The verdicts as conditions; one whose status is what it was keeps its time.
pub(crate) fn conditions(
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

/// Kubernetes bounds messages; people stop reading much sooner.
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

    use spoor_api::status::ConditionStatus;

    use super::*;

    fn of(status: ConditionStatus, previous: &[Condition], now: &str) -> Condition {
        let verdict = Verdict {
            status,
            reason: "Reason",
            message: String::new(),
        };
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
