//! The samplers that apply the tail rules of a namespace.

use std::fmt;

use spoor_api::status::ConditionStatus;
use spoor_control::SamplerState;
use spoor_policy::message::listed;

/// The most samplers that a message names.
const MAX_NAMED: usize = 5;

/// The progress of tail rules among the samplers that should apply them.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct SamplerProgress {
    expected: usize,
    /// The samplers that are not known to apply the rules, by name.
    not_current: Vec<NotCurrentSampler>,
}

/// A sampler that is not known to apply the tail rules.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct NotCurrentSampler {
    name: String,
    reason: NotCurrentReason,
}

/// The reason why a sampler is not known to apply the tail rules. Ordered by severity.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum NotCurrentReason {
    /// It has no stream, so it is not known which rules it has.
    Disconnected,
    /// It has neither acknowledged nor refused the rules yet.
    Pending,
    /// It refused the rules, for this reason.
    Refused(String),
}

impl SamplerProgress {
    /// The progress among the expected samplers. `known` are those that are or were connected.
    #[must_use]
    pub fn new<'a>(expected: impl IntoIterator<Item = &'a str>, known: &[SamplerState]) -> Self {
        let mut progress = Self::default();
        for name in expected {
            progress.expected += 1;
            let state = known.iter().find(|state| state.instance == name);
            let reason = not_current_reason(state);
            progress
                .not_current
                .extend(reason.map(|reason| NotCurrentSampler {
                    name: name.to_owned(),
                    reason,
                }));
        }
        progress.not_current.sort_unstable();
        progress
    }

    /// True if every expected sampler has acknowledged the rules, and at least one is expected.
    pub(crate) fn is_complete(&self) -> bool {
        self.expected > 0 && self.not_current.is_empty()
    }

    /// The status and the reason of the condition `Programmed` while the progress is not complete.
    pub(crate) fn programmed(&self) -> (ConditionStatus, &'static str) {
        // A condition has one reason, so the most severe problem counts.
        match self.not_current.iter().map(|it| &it.reason).max() {
            Some(NotCurrentReason::Refused(_)) => (ConditionStatus::False, "Refused"),
            Some(NotCurrentReason::Pending) => (ConditionStatus::False, "Pending"),
            // A sampler that is cut off keeps the rules that it has, which may be these.
            Some(NotCurrentReason::Disconnected) | None => {
                (ConditionStatus::Unknown, "Disconnected")
            }
        }
    }

    /// The names of the samplers that are not current for a matching reason.
    fn names(&self, matches: impl Fn(&NotCurrentReason) -> bool) -> String {
        let matching = self.not_current.iter().filter(|it| matches(&it.reason));
        let named: Vec<&NotCurrentSampler> = matching.collect();
        listed(&named, MAX_NAMED)
    }
}

impl fmt::Display for SamplerProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let current = self.expected.saturating_sub(self.not_current.len());
        match self.expected {
            1 => write!(f, "{current} of 1 sampler applies the tail rules")?,
            expected => write!(f, "{current} of {expected} samplers apply the tail rules")?,
        }
        let refused = self.names(|reason| matches!(reason, NotCurrentReason::Refused(_)));
        let pending = self.names(|reason| *reason == NotCurrentReason::Pending);
        let disconnected = self.names(|reason| *reason == NotCurrentReason::Disconnected);
        for (problem, names) in [
            ("refused by", refused),
            ("waiting for", pending),
            ("not connected:", disconnected),
        ] {
            if !names.is_empty() {
                write!(f, "; {problem} {names}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for NotCurrentSampler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            NotCurrentReason::Refused(cause) => write!(f, "{} ({cause})", self.name),
            _ => f.write_str(&self.name),
        }
    }
}

/// The reason why a sampler is not known to apply the rules, or `None` if it does.
fn not_current_reason(state: Option<&SamplerState>) -> Option<NotCurrentReason> {
    match state.filter(|state| state.connected) {
        // What it acknowledged before its stream ended may have been lost with its pod.
        None => Some(NotCurrentReason::Disconnected),
        Some(state) if state.current => None,
        Some(state) => Some(match &state.refused {
            Some(refused) if state.refuses_current => {
                NotCurrentReason::Refused(refused.reason.clone())
            }
            _ => NotCurrentReason::Pending,
        }),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use spoor_control::RefusedRules;
    use spoor_policy::Version;

    use super::*;

    fn sampler(instance: &str) -> SamplerState {
        SamplerState {
            stack: "tracing".to_owned(),
            instance: instance.to_owned(),
            connected: true,
            held: None,
            current: true,
            refused: None,
            refuses_current: false,
        }
    }

    fn pending(instance: &str) -> SamplerState {
        SamplerState {
            current: false,
            ..sampler(instance)
        }
    }

    fn refusing(instance: &str, refuses_current: bool) -> SamplerState {
        SamplerState {
            refused: Some(RefusedRules {
                version: Version::default(),
                reason: "unknown condition".to_owned(),
            }),
            refuses_current,
            ..pending(instance)
        }
    }

    fn disconnected(instance: &str) -> SamplerState {
        SamplerState {
            connected: false,
            ..sampler(instance)
        }
    }

    #[rstest]
    #[case(
        &[sampler("a"), pending("b"), sampler("other")],
        "False Pending: 1 of 2 samplers apply the tail rules; waiting for b"
    )]
    #[case(
        &[refusing("a", true), pending("b")],
        "False Refused: 0 of 2 samplers apply the tail rules; refused by a (unknown condition); waiting for b"
    )]
    #[case(
        &[refusing("a", false), sampler("b")],
        "False Pending: 1 of 2 samplers apply the tail rules; waiting for a"
    )]
    #[case(
        &[disconnected("a")],
        "Unknown Disconnected: 0 of 2 samplers apply the tail rules; not connected: a, b"
    )]
    fn condition_names_the_samplers(#[case] known: &[SamplerState], #[case] expected: &str) {
        let progress = SamplerProgress::new(["a", "b"], known);
        assert!(!progress.is_complete());
        let (status, reason) = progress.programmed();
        assert_eq!(format!("{status:?} {reason}: {progress}"), expected);
    }

    #[test]
    fn complete_once_all_have_acknowledged() {
        let known = [sampler("a"), sampler("b")];
        assert!(SamplerProgress::new(["b", "a"], &known).is_complete());
        assert!(!SamplerProgress::new(Vec::<&str>::new(), &known).is_complete());
    }
}
