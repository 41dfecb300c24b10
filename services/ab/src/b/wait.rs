//! The wait: what a slow statement in a database would cost.

use std::{fmt, str::FromStr, time::Duration};

use rand::RngExt;
use spoor_telemetry::duration::{self, InvalidDuration};
use tracing::Instrument;

/// The longest that a request may ask for.
pub(crate) const LONGEST: Duration = Duration::from_secs(10);

/// How long a request waits unless it says so itself: evenly distributed between two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitRange {
    shortest: Duration,
    longest: Duration,
}

/// Why a text is no [`WaitRange`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidWaitRange {
    /// An end is no duration.
    #[error(transparent)]
    Duration(#[from] InvalidDuration),
    /// The ends are in the wrong order.
    #[error("must begin with the shorter end, as in 100ms..500ms")]
    Reversed,
    /// Longer than a request may take.
    #[error("must be at most {LONGEST:?}")]
    TooLong,
}

impl WaitRange {
    pub(super) fn pick(self) -> Duration {
        if self.shortest == self.longest {
            return self.shortest;
        }
        rand::rng().random_range(self.shortest..=self.longest)
    }
}

/// Waits under a span that looks like a database's, so that a trace shows where the time goes.
/// A wait of nothing leaves no span.
pub(super) async fn query(wait: Duration) {
    if wait.is_zero() {
        return;
    }
    let span = spoor_telemetry::database::statement(
        "postgresql",
        "SELECT orders",
        "SELECT * FROM orders WHERE customer = $1",
    );
    tokio::time::sleep(wait).instrument(span).await;
}

impl FromStr for WaitRange {
    type Err = InvalidWaitRange;

    fn from_str(text: &str) -> Result<Self, InvalidWaitRange> {
        let (shortest, longest) = text.split_once("..").unwrap_or((text, text));
        let shortest = duration::parse(shortest)?;
        let longest = duration::parse(longest)?;
        if shortest > longest {
            Err(InvalidWaitRange::Reversed)
        } else if longest > LONGEST {
            Err(InvalidWaitRange::TooLong)
        } else {
            Ok(Self { shortest, longest })
        }
    }
}

impl fmt::Display for WaitRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}..{:?}", self.shortest, self.longest)
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
    fn picks_stay_inside(#[case] text: &str) {
        let range: WaitRange = text.parse().unwrap();
        for _ in 0..1000 {
            assert!((range.shortest..=range.longest).contains(&range.pick()));
        }
    }

    #[rstest::rstest]
    #[case("500ms..100ms", InvalidWaitRange::Reversed)]
    #[case("1s..11s", InvalidWaitRange::TooLong)]
    fn other_ranges_are_refused(#[case] text: &str, #[case] error: InvalidWaitRange) {
        assert_eq!(text.parse::<WaitRange>(), Err(error));
    }

    #[test]
    fn both_ends_must_be_durations() {
        assert!("100ms..soon".parse::<WaitRange>().is_err());
        assert!("..500ms".parse::<WaitRange>().is_err());
    }
}
