//! Deadlines as people write them: `500ms`, `1.5s`.

use std::time::Duration;

use jiff::SignedDuration;

/// Reads one from 1 ms to one minute.
pub(crate) fn parse_deadline(text: &str) -> Result<Duration, String> {
    text.parse::<SignedDuration>()
        .ok()
        .and_then(|signed| Duration::try_from(signed).ok())
        .filter(|length| (Duration::from_millis(1)..=Duration::from_secs(60)).contains(length))
        .ok_or_else(|| format!("must be from 1ms to 60s, such as 500ms or 1.5s, not {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case("500ms", Some(500))]
    #[case("1.5s", Some(1500))]
    #[case("0s", None)]
    #[case("-1s", None)]
    #[case("2m", None)]
    #[case("soon", None)]
    fn deadlines(#[case] text: &str, #[case] millis: Option<u64>) {
        assert_eq!(parse_deadline(text).ok(), millis.map(Duration::from_millis));
    }
}
