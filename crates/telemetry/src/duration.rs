//! Durations as people write them: `0ms`, `1.5s`, `1h30m`.

mod range;

use std::{ops::RangeInclusive, time::Duration};

use jiff::{Span, SpanRelativeTo};

pub use range::{DurationRange, InvalidDurationRange};

/// Text that is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a duration such as 0ms, 250ms or 1.5s, not {0:?}")]
pub struct InvalidDuration(pub String);

/// Text that is not a deadline.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be from 1ms to 60s, such as 500ms or 1.5s, not {0:?}")]
pub struct InvalidDeadline(pub String);

/// The range of deadlines.
const DEADLINES: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(60);

/// Parses a duration that is not negative. A day has 24 hours.
///
/// # Errors
/// [`InvalidDuration`] for anything else.
pub fn parse(text: &str) -> Result<Duration, InvalidDuration> {
    text.parse::<Span>()
        // Without a date, a day has 24 hours, and months and years have no length.
        .and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()))
        .and_then(Duration::try_from)
        .map_err(|_| InvalidDuration(text.to_owned()))
}

/// Parses a deadline: from 1 ms to one minute.
///
/// # Errors
/// [`InvalidDeadline`] for anything else.
pub fn parse_deadline(text: &str) -> Result<Duration, InvalidDeadline> {
    parse(text)
        .ok()
        .filter(|deadline| DEADLINES.contains(deadline))
        .ok_or_else(|| InvalidDeadline(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("0ms", Some(0))]
    #[case("250ms", Some(250))]
    #[case("1.5s", Some(1500))]
    #[case("1h30m", Some(5_400_000))]
    #[case("2d", Some(172_800_000))]
    #[case("", None)]
    #[case("5", None)]
    #[case("-1s", None)]
    #[case("1s ago", None)]
    #[case("1mo", None)]
    #[case("soon", None)]
    #[case("99999999999999999999d", None)]
    fn parses_durations_with_units(#[case] text: &str, #[case] millis: Option<u64>) {
        assert_eq!(parse(text).ok(), millis.map(Duration::from_millis));
    }

    #[rstest]
    #[case("1ms", true)]
    #[case("1m", true)]
    #[case("0ms", false)]
    #[case("61s", false)]
    #[case("soon", false)]
    fn deadline_is_from_1ms_to_60s(#[case] text: &str, #[case] valid: bool) {
        assert_eq!(parse_deadline(text).is_ok(), valid);
    }
}
