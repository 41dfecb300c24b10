//! Texts and figures for a terminal.

use std::time::Duration;

use spoor_traces::tree::{Tree, value};

/// Formats a duration in milliseconds, with about three significant digits.
pub(crate) fn milliseconds(duration: Duration) -> String {
    let ms = duration.as_secs_f64() * 1e3;
    // Figures of similar precision are easy to compare.
    if ms >= 100.0 {
        format!("{ms:.0} ms")
    } else if ms >= 1.0 {
        format!("{ms:.1} ms")
    } else {
        format!("{ms:.3} ms")
    }
}

/// Escapes control characters, so that text from a span cannot move the terminal's cursor.
#[must_use]
pub fn printable(text: &str) -> String {
    value::visible_line(text).into_owned()
}

/// The time from the trace's start, zero if it is earlier.
pub(super) fn offset(tree: &Tree, time: u64) -> Duration {
    Duration::from_nanos(time.saturating_sub(tree.start()))
}
