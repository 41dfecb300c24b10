//! Numbers, times and long strings in short, readable forms.

use std::time::Duration;

use jiff::{Timestamp, tz::TimeZone};
use spoor_traces::{TraceId, tree::value::visible};

/// A duration with three significant digits: `1.23 s`, `312 ms`, `45.6 µs`.
pub fn duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let (unit, name) = match nanos {
        0 => return "0".to_owned(),
        1..1_000 => return format!("{nanos} ns"),
        1_000..1_000_000 => (1e3, "µs"),
        1_000_000..1_000_000_000 => (1e6, "ms"),
        1_000_000_000..60_000_000_000 => (1e9, "s"),
        60_000_000_000..3_600_000_000_000 => return two_units(duration, 60, "min", 1, "s"),
        _ => return two_units(duration, 3_600, "h", 60, "min"),
    };
    // The digits beyond the precision of a double are not shown.
    let number = nanos as f64 / unit;
    let digits = match number {
        100.0.. => 0,
        10.0.. => 1,
        _ => 2,
    };
    format!("{} {name}", trimmed(&format!("{number:.digits$}")))
}

fn two_units(duration: Duration, major: u64, name: &str, minor: u64, minor_name: &str) -> String {
    let seconds = duration.as_secs();
    let (whole, rest) = (seconds / major, seconds % major / minor);
    format!("{whole} {name} {rest} {minor_name}")
}

fn trimmed(number: &str) -> &str {
    match number.contains('.') {
        true => number.trim_end_matches('0').trim_end_matches('.'),
        false => number,
    }
}

/// A share as a whole percentage; `<1 %` for less than that, unless it is zero.
pub fn percent(part: Duration, whole: Duration) -> String {
    if whole.is_zero() {
        return "0 %".to_owned();
    }
    match 100.0 * part.as_secs_f64() / whole.as_secs_f64() {
        share if share > 0.0 && share < 1.0 => "<1 %".to_owned(),
        share => format!("{share:.0} %"),
    }
}

/// A time since the Unix epoch as `2026-11-21 09:30:00.123`, in UTC.
pub fn date_time(nanos: u64) -> String {
    formatted(nanos, "%Y-%m-%d %H:%M:%S%.3f")
}

/// The time of day of a time since the Unix epoch: `09:30:00.123`, in UTC.
pub fn time_of_day(nanos: u64) -> String {
    formatted(nanos, "%H:%M:%S%.3f")
}

fn formatted(nanos: u64, format: &str) -> String {
    match Timestamp::from_nanosecond(i128::from(nanos)) {
        Ok(time) => time.to_zoned(TimeZone::UTC).strftime(format).to_string(),
        Err(_) => format!("{nanos} ns"),
    }
}

/// A time relative to now: `3 s ago`, `2 h 5 min ago`.
pub fn ago(nanos: u64, now: u64) -> String {
    match Duration::from_nanos(now.saturating_sub(nanos)) {
        age if age < Duration::from_secs(1) => "just now".to_owned(),
        age if age < Duration::from_secs(60) => format!("{} s ago", age.as_secs()),
        age if age < Duration::from_secs(3_600) => format!("{} min ago", age.as_secs() / 60),
        age if age < Duration::from_secs(48 * 3_600) => format!("{} ago", duration(age)),
        age => format!("{} days ago", age.as_secs() / 86_400),
    }
}

/// A number with its noun: `1 span`, `2,300 spans`.
pub fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", grouped(number))
}

/// A number with thousands separators.
pub fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// The first characters of a text, with invisible ones escaped, and the number of bytes left out.
pub fn cut(text: &str, max_chars: usize) -> String {
    match text.char_indices().nth(max_chars) {
        None => visible(text).into_owned(),
        Some((end, _)) => {
            let start = text.get(..end).unwrap_or(text);
            let left_out = text.len() - start.len();
            format!("{}… ({} more bytes)", visible(start), grouped(left_out))
        }
    }
}

/// Splits an operation's name for a narrow column: the start, which may be cut, and the end from
/// the last slash on, which should stay visible. The package of a gRPC method is omitted.
pub fn split_operation(operation: &str) -> (&str, &str) {
    let Some((start, _)) = operation.rsplit_once('/') else {
        return ("", operation);
    };
    let end = operation.get(start.len()..).unwrap_or_default();
    // The space after an HTTP method would be lost at the edge of a part.
    if start.is_empty() || start.ends_with(char::is_whitespace) {
        return ("", operation);
    }
    let is_package = |text: &str| {
        text.chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_'))
    };
    // A protobuf service starts with a capital letter, which distinguishes `shop.v1.Cart` from a
    // host name.
    let is_service = |text: &str| text.starts_with(|c: char| c.is_ascii_uppercase());
    match start.rsplit_once('.') {
        Some((package, service)) if is_package(package) && is_service(service) => (service, end),
        _ => (start, end),
    }
}

/// The first digits of a trace ID, which distinguish the traces of a list if their IDs are random.
pub fn short(id: TraceId) -> String {
    id.to_string().chars().take(8).collect()
}

/// A position on an axis in percent, for SVG.
pub fn percent_along(part: u64, whole: u64) -> f64 {
    // The rounding error is far smaller than a pixel.
    match whole {
        0 => 0.0,
        whole => 100.0 * part as f64 / whole as f64,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rstest::rstest;

    use super::{ago, count, cut, date_time, duration, percent, split_operation};

    #[rstest]
    #[case(0, "0")]
    #[case(7, "7 ns")]
    #[case(45_600, "45.6 µs")]
    #[case(312_400_000, "312 ms")]
    #[case(1_230_000_000, "1.23 s")]
    #[case(2_000_000_000, "2 s")]
    #[case(100_000_000, "100 ms")]
    #[case(61_000_000_000, "1 min 1 s")]
    #[case(7_380_000_000_000, "2 h 3 min")]
    fn durations_are_short(#[case] nanos: u64, #[case] text: &str) {
        assert_eq!(duration(Duration::from_nanos(nanos)), text);
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(cut("häß", 3), "häß");
        assert_eq!(cut("häßlich", 3), "häß… (4 more bytes)");
        assert_eq!(cut("a\u{202e}bc", 2), "a\\u{202e}… (2 more bytes)");
    }

    #[rstest]
    #[case("spoor.marketplace.v1.Marketplace/Search", ("Marketplace", "/Search"))]
    #[case("Marketplace/Search", ("Marketplace", "/Search"))]
    #[case("example.com/search", ("example.com", "/search"))]
    #[case("GET /api/a.Wish/{id}", ("GET /api/a.Wish", "/{id}"))]
    #[case("GET /search", ("", "GET /search"))]
    #[case("/search", ("", "/search"))]
    #[case("INSERT wishes", ("", "INSERT wishes"))]
    #[case("", ("", ""))]
    fn operation_is_split_at_its_last_slash(#[case] name: &str, #[case] expected: (&str, &str)) {
        assert_eq!(split_operation(name), expected);
    }

    #[test]
    fn counts_shares_and_times_are_formatted() {
        assert_eq!(count(1, "span"), "1 span");
        assert_eq!(count(1_234_567, "span"), "1,234,567 spans");
        let (part, whole) = (Duration::from_millis(1), Duration::from_secs(1));
        assert_eq!(percent(part, whole), "<1 %");
        assert_eq!(percent(part, Duration::ZERO), "0 %");
        assert_eq!(
            date_time(1_700_000_000_123_000_000),
            "2023-11-14 22:13:20.123"
        );
        assert_eq!(ago(0, 5_000_000_000), "5 s ago");
        assert_eq!(ago(5, 0), "just now");
        assert!(!date_time(u64::MAX).is_empty());
    }
}
