//! Durations as people write them: `0ms`, `1.5s`, `1m30s`.

use std::time::Duration;

use jiff::SignedDuration;

/// Reads one that is not negative.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    text.parse::<SignedDuration>()
        .ok()
        .and_then(|signed| Duration::try_from(signed).ok())
        .ok_or_else(|| format!("must be a duration such as 0ms, 250ms or 1.5s, not {text:?}"))
}

/// Reads a deadline: from 1 ms to one minute.
pub(crate) fn parse_deadline(text: &str) -> Result<Duration, String> {
    let deadline = parse(text)?;
    if (Duration::from_millis(1)..=Duration::from_secs(60)).contains(&deadline) {
        Ok(deadline)
    } else {
        Err(format!("must be from 1ms to 60s, not {text:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case("0ms", Some(0))]
    #[case("250ms", Some(250))]
    #[case("1.5s", Some(1500))]
    #[case("1m30s", Some(90_000))]
    #[case("", None)]
    #[case("5", None)]
    #[case("-1s", None)]
    #[case("soon", None)]
    fn durations(#[case] text: &str, #[case] millis: Option<u64>) {
        assert_eq!(parse(text).ok(), millis.map(Duration::from_millis));
    }

    #[rstest::rstest]
    #[case("5s", true)]
    #[case("0ms", false)]
    #[case("61s", false)]
    fn deadlines(#[case] text: &str, #[case] valid: bool) {
        assert_eq!(parse_deadline(text).is_ok(), valid);
    }
}
