//! Texts and figures for a terminal.

use std::time::Duration;

use spoor_traces::tree::{Tree, value};

/// Formats a duration in milliseconds, or in seconds if it is at least one second, with about three
/// significant digits.
pub(crate) fn short_duration(duration: Duration) -> String {
    let ms = duration.as_secs_f64() * 1e3;
    // Figures of similar precision are easy to compare.
    if ms >= 100_000.0 {
        format!("{:.0} s", ms / 1e3)
    } else if ms >= 10_000.0 {
        format!("{:.1} s", ms / 1e3)
    // At 999.5 ms and above, rounding would show 1000 ms.
    } else if ms >= 999.5 {
        format!("{:.2} s", ms / 1e3)
    } else if ms >= 100.0 {
        format!("{ms:.0} ms")
    } else if ms >= 1.0 {
        format!("{ms:.1} ms")
    } else {
        format!("{ms:.3} ms")
    }
}

/// Escapes control characters, so that text from a span cannot move the terminal's cursor.
pub fn printable(text: &str) -> String {
    value::visible_line(text).into_owned()
}

/// A duration in milliseconds, for JSON.
pub(super) fn milliseconds(duration: Duration) -> f64 {
    // One division rounds once, so that no digits follow the nanoseconds.
    duration.as_nanos() as f64 / 1e6
}

/// The time from the trace's start, zero if it is earlier.
pub(super) fn offset(tree: &Tree, time: u64) -> Duration {
    Duration::from_nanos(time.saturating_sub(tree.start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case(60, "0.060 ms")]
    #[case(50_000, "50.0 ms")]
    #[case(999_400, "999 ms")]
    #[case(999_600, "1.00 s")]
    #[case(1_164_000, "1.16 s")]
    #[case(59_920_000, "59.9 s")]
    #[case(600_000_000, "600 s")]
    fn long_durations_are_in_seconds(#[case] microseconds: u64, #[case] shown: &str) {
        assert_eq!(short_duration(Duration::from_micros(microseconds)), shown);
    }
}
