//! Conditions get the time since when they are so.

use jiff::Timestamp;
use spoor_api::status::{Condition, ConditionStatus};

use super::MAX_MESSAGE;

/// What a condition says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    status: ConditionStatus,
    reason: &'static str,
    message: String,
}

impl Verdict {
    pub(super) fn new(
        status: ConditionStatus,
        reason: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self {
            status,
            reason,
            message: shortened(message.into()),
        }
    }
}

/// One whose status is what it was keeps its time.
pub(super) fn conditions(
    verdicts: impl IntoIterator<Item = (&'static str, Verdict)>,
    generation: Option<i64>,
    previous: &[Condition],
    now: Timestamp,
) -> Vec<Condition> {
    let condition = |(kind, verdict): (&'static str, Verdict)| {
        let before = previous
            .iter()
            .find(|before| before.kind == kind && before.status == verdict.status);
        let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
        Condition {
            kind: kind.to_owned(),
            status: verdict.status,
            observed_generation: generation,
            last_transition_time: before.map_or_else(
                || now.to_string(),
                |before| before.last_transition_time.clone(),
            ),
            reason: verdict.reason.to_owned(),
            message: verdict.message,
        }
    };
    verdicts.into_iter().map(condition).collect()
}

fn shortened(mut message: String) -> String {
    if message.len() > MAX_MESSAGE {
        let mut end = MAX_MESSAGE;
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        message.truncate(end);
        message.push('…');
    }
    message
}
