//! A random duration, evenly distributed between two bounds.

use std::{str::FromStr, time::Duration};

use rand::RngExt;

use super::{InvalidDuration, parse};

/// A duration that is chosen for each request: `250ms`, or at random from `100ms..500ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, derive_more::Display)]
#[display("{shortest:?}..{longest:?}")]
pub struct DurationRange {
    shortest: Duration,
    longest: Duration,
}

/// Text that is not a [`DurationRange`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDurationRange {
    /// A bound is not a duration.
    #[error(transparent)]
    Duration(#[from] InvalidDuration),
    /// The longer bound is first.
    #[error("must begin with the shorter duration, as in 100ms..500ms")]
    Reversed,
    /// A bound is longer than [`DurationRange::MAX`].
    #[error("must be at most {max:?}", max = DurationRange::MAX)]
    TooLong,
}

impl DurationRange {
    /// The longest duration.
    pub const MAX: Duration = Duration::from_secs(10);

    /// Chooses a duration.
    #[must_use]
    pub fn pick(self) -> Duration {
        rand::rng().random_range(self.shortest..=self.longest)
    }
}

impl FromStr for DurationRange {
    type Err = InvalidDurationRange;

    fn from_str(text: &str) -> Result<Self, InvalidDurationRange> {
        let (shortest, longest) = text.split_once("..").unwrap_or((text, text));
        let shortest = parse(shortest)?;
        let longest = parse(longest)?;
        if shortest > longest {
            Err(InvalidDurationRange::Reversed)
        } else if longest > Self::MAX {
            Err(InvalidDurationRange::TooLong)
        } else {
            Ok(Self { shortest, longest })
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[rstest::rstest]
    #[case("100ms..500ms")]
    #[case("250ms")]
    #[case("0ms..0ms")]
    fn picks_stay_within_the_range(#[case] text: &str) {
        let range: DurationRange = text.parse().unwrap();
        for _ in 0..1000 {
            assert!((range.shortest..=range.longest).contains(&range.pick()));
        }
    }

    #[rstest::rstest]
    #[case("500ms..100ms", InvalidDurationRange::Reversed)]
    #[case("1s..11s", InvalidDurationRange::TooLong)]
    fn invalid_ranges_are_refused(#[case] text: &str, #[case] error: InvalidDurationRange) {
        assert_eq!(text.parse::<DurationRange>(), Err(error));
    }

    #[test]
    fn both_ends_must_be_durations() {
        assert!("100ms..soon".parse::<DurationRange>().is_err());
        assert!("..500ms".parse::<DurationRange>().is_err());
    }
}
