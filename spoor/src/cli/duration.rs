//! The formats of durations in options and tables.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// Parses a duration such as `300ms`, `15m` or `1h30m`.
///
/// # Errors
/// A message that describes a valid value.
pub fn duration(text: &str) -> Result<Duration, String> {
    spoor_telemetry::duration::parse(text)
        .map_err(|_| format!("must be a duration such as 300ms, 15s, 10m or 1h30m, not {text:?}"))
}

/// Parses a duration longer than 0.
///
/// # Errors
/// A message that describes a valid value.
pub fn positive_duration(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("must be longer than 0, such as 15s".to_owned()),
        positive => Ok(positive),
    }
}

/// Formats the time since a timestamp in the style of kubectl: its largest one or two units.
pub fn age(since: Timestamp, now: Timestamp) -> String {
    let age = now.duration_since(since).max(SignedDuration::ZERO);
    let seconds = age.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    // Thresholds of kubectl, which has more: it shows `4h5m` below 8 hours and `3d4h` below 8 days.
    if seconds < 120 {
        format!("{seconds}s")
    } else if minutes < 10 {
        format!("{minutes}m{}s", seconds % 60)
    } else if hours < 3 {
        format!("{minutes}m")
    } else if hours < 48 {
        format!("{hours}h")
    } else {
        format!("{days}d")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn error_describes_valid_durations() {
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5400)));
        let error = duration("soon").unwrap_err();
        assert!(
            error.contains("10m") && error.contains("\"soon\""),
            "{error}"
        );
    }

    #[rstest::rstest]
    #[case(5, "5s")]
    #[case(119, "119s")]
    #[case(125, "2m5s")]
    #[case(660, "11m")]
    #[case(4 * 3600, "4h")]
    #[case(3 * 86_400, "3d")]
    fn formats_ages_in_kubectl_style(#[case] seconds: i64, #[case] shown: &str) {
        let now = Timestamp::UNIX_EPOCH;
        assert_eq!(age(now - SignedDuration::from_secs(seconds), now), shown);
    }
}
