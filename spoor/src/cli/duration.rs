//! Durations as people write them.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// Reads `300ms`, `15m`, `1h30m`.
///
/// # Errors
/// A sentence that says what would be right.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("must be a duration such as 300ms, 15s, 10m or 1h30m, not {text:?}");
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest
            .bytes()
            .take_while(|b| b.is_ascii_digit() || *b == b'.')
            .count();
        let (number, after) = rest.split_at(digits);
        let letters = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, after) = after.split_at(letters);
        let number: f64 = number.parse().map_err(|_| wrong())?;
        let seconds = number * seconds_in(unit).ok_or_else(wrong)?;
        total = Duration::try_from_secs_f64(seconds)
            .ok()
            .and_then(|part| total.checked_add(part))
            .ok_or_else(wrong)?;
        rest = after;
    }
    if text.is_empty() {
        Err(wrong())
    } else {
        Ok(total)
    }
}

/// How long ago, as kubectl has it: the largest unit or two.
#[must_use]
pub fn age(since: Timestamp, now: Timestamp) -> String {
    let seconds = now
        .duration_since(since)
        .max(SignedDuration::ZERO)
        .as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
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

fn seconds_in(unit: &str) -> Option<f64> {
    Some(match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case("300ms", Some(300))]
    #[case("15m", Some(900_000))]
    #[case("1h30m", Some(5_400_000))]
    #[case("1.5s", Some(1500))]
    #[case("", None)]
    #[case("soon", None)]
    #[case("5", None)]
    #[case("5 s", None)]
    #[case("-1s", None)]
    #[case("99999999999999999999d", None)]
    fn durations(#[case] text: &str, #[case] milliseconds: Option<u64>) {
        assert_eq!(duration(text).ok(), milliseconds.map(Duration::from_millis));
    }

    #[rstest::rstest]
    #[case(5, "5s")]
    #[case(119, "119s")]
    #[case(125, "2m5s")]
    #[case(660, "11m")]
    #[case(4 * 3600, "4h")]
    #[case(3 * 86_400, "3d")]
    fn ages(#[case] seconds: i64, #[case] shown: &str) {
        let now = Timestamp::UNIX_EPOCH;
        assert_eq!(age(now - SignedDuration::from_secs(seconds), now), shown);
    }
}
