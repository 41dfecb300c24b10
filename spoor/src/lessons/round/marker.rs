//! The marker of a round's requests in their traces: their user agent.

use opentelemetry_semantic_conventions::attribute::USER_AGENT_ORIGINAL;
use spoor_traces::tree::{EXERCISE_USER_AGENT, Tree};

/// The part after the prefix that all exercises share.
const LESSON: &str = "2/";

/// A round, displayed as its user agent. Later rounds compare greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, derive_more::Display)]
#[display("{EXERCISE_USER_AGENT}{LESSON}{seed}.{began}")]
pub struct Marker {
    /// The start in Unix milliseconds.
    pub began: u64,
    /// The seed that determined what is slow.
    pub seed: u32,
}

impl Marker {
    /// The round that a trace announces, if any, from the name of its root span.
    pub fn announced(tree: &Tree) -> Option<Self> {
        // A name and no user agent, so that a search for the round's requests does not find it.
        Self::read(&tree.root()?.member.span.name)
    }

    /// The tags of the round's traces.
    pub fn tags(self) -> Vec<(String, String)> {
        vec![(USER_AGENT_ORIGINAL.to_owned(), self.to_string())]
    }

    fn read(user_agent: &str) -> Option<Self> {
        let round = user_agent.strip_prefix(EXERCISE_USER_AGENT)?;
        let round = round.strip_prefix(LESSON)?;
        let (seed, began) = round.split_once('.')?;
        Some(Self {
            began: began.parse().ok()?,
            seed: seed.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_its_own_format() {
        let marker = Marker { began: 17, seed: 4 };
        assert_eq!(Marker::read(&marker.to_string()), Some(marker));
        for other in ["curl/8.0", "spoor-lesson-2/", "spoor-lesson-2/a.b"] {
            assert_eq!(Marker::read(other), None);
        }
        assert!(
            Marker { began: 18, seed: 1 } > marker,
            "the later is greater"
        );
    }
}
