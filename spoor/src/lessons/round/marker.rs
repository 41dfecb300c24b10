//! How a round's requests are known in their traces: by their user agent.

use std::fmt;

use opentelemetry_semantic_conventions::attribute::USER_AGENT_ORIGINAL;
use spoor_traces::tree::{EXERCISE_USER_AGENT, Tree, value};

/// What follows the common prefix of exercises.
const LESSON: &str = "2/";

/// A round; the later one is the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Marker {
    /// Unix milliseconds.
    pub began: u64,
    /// What it was drawn from.
    pub seed: u32,
}

impl Marker {
    /// The round that a trace belongs to, if any: its root says so.
    pub fn of(tree: &Tree) -> Option<Self> {
        let span = &tree.root()?.member.span;
        Self::read(value::string(&span.attributes, USER_AGENT_ORIGINAL)?)
    }

    fn read(user_agent: &str) -> Option<Self> {
        let round = user_agent
            .strip_prefix(EXERCISE_USER_AGENT)?
            .strip_prefix(LESSON)?;
        let (seed, began) = round.split_once('.')?;
        Some(Self {
            began: began.parse().ok()?,
            seed: seed.parse().ok()?,
        })
    }
}

impl fmt::Display for Marker {
    /// As the user agent has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{EXERCISE_USER_AGENT}{LESSON}{}.{}",
            self.seed, self.began
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_read_as_it_is_written() {
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
