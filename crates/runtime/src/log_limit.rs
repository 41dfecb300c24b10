//! A rate limit for log lines about events that may come in floods.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The interval in which at most one line is logged. It is short enough to show that a problem
/// persists, and long enough that the lines of a day can be read.
const MIN_LINE_INTERVAL: Duration = Duration::from_secs(10);

/// Admits one line in ten seconds and counts the others.
#[derive(Debug, Default)]
pub struct LogLimit(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last: Option<Instant>,
    suppressed: u64,
}

impl LogLimit {
    /// Creates a limit that admits the first line.
    #[must_use]
    pub const fn new() -> Self {
        Self(Mutex::new(State {
            last: None,
            suppressed: 0,
        }))
    }

    /// If a line should be logged now, returns how many were suppressed since the last one.
    pub fn admit(&self) -> Option<u64> {
        self.admit_at(Instant::now())
    }

    fn admit_at(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock();
        let is_soon = |last| now.saturating_duration_since(last) < MIN_LINE_INTERVAL;
        if state.last.is_some_and(is_soon) {
            state.suppressed += 1;
            return None;
        }
        state.last = Some(now);
        Some(std::mem::take(&mut state.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_reports_the_suppressed_count() {
        let (limit, start) = (LogLimit::new(), Instant::now());
        assert_eq!(limit.admit_at(start), Some(0));
        assert_eq!(limit.admit_at(start), None);
        assert_eq!(limit.admit_at(start + MIN_LINE_INTERVAL / 2), None);
        assert_eq!(limit.admit_at(start + MIN_LINE_INTERVAL), Some(2));
        assert_eq!(limit.admit_at(start + 2 * MIN_LINE_INTERVAL), Some(0));
    }
}
