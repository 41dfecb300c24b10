//! The time that a report covers.

use std::time::{Duration, Instant};

/// The most that a process's clock may be slower than ours, as a divisor: one part in this many.
const MAX_DRIFT_DIVISOR: u32 = 100;

/// The time up to which a process has reported its counts.
///
/// A report may be delayed, by a stalled process or a sleeping laptop, and then arrive together
/// with later ones. Its counts belong to the time when they were made, so the process's own clock
/// measures the time between two reports. Our clock dates the first report, and ensures that no
/// report covers time in the future.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Coverage(Option<LastReport>);

#[derive(Clone, Copy, Debug)]
struct LastReport {
    /// The time of the report by the process's clock, if it sends one.
    unix_millis: Option<i64>,
    /// The same time by our clock.
    until: Instant,
}

impl Coverage {
    /// Returns the time that a report made at `unix_millis` covers, after which the next begins.
    ///
    /// `first` is the time of the first decision in the report, by the process's clock.
    pub(crate) fn advance(
        &mut self,
        unix_millis: Option<i64>,
        first: Option<i64>,
        now: Instant,
    ) -> (Instant, Instant) {
        let until = self.until(unix_millis, now);
        let from = match self.0 {
            Some(before) => before.until,
            None => {
                let counted = unix_millis
                    .zip(first)
                    .and_then(|(at, first)| since(first, at));
                let from = counted.and_then(|counted| until.checked_sub(counted));
                from.unwrap_or(until)
            }
        };
        self.0 = Some(LastReport { unix_millis, until });
        (from.min(until), until)
    }

    fn until(&self, unix_millis: Option<i64>, now: Instant) -> Instant {
        let Some(before) = self.0 else { return now };
        let passed = before.unix_millis.zip(unix_millis);
        // If the clock was set back, the time that has passed is unknown.
        let passed = passed.and_then(|(before, after)| since(before, after));
        // A slower clock would otherwise fall further behind ours with each report.
        let until = passed.and_then(|it| before.until.checked_add(it + it / MAX_DRIFT_DIVISOR));
        until.map_or(now, |until| until.min(now))
    }
}

/// The time between two Unix times in milliseconds, if the second is later.
fn since(before: i64, after: i64) -> Option<Duration> {
    let millis = after.checked_sub(before)?;
    u64::try_from(millis).ok().map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The seconds that reports cover, given when each was made and when it arrived.
    fn covered(reports: &[(i64, u64)]) -> Vec<(u64, u64)> {
        let start = Instant::now();
        let mut coverage = Coverage::default();
        let advance = |(made, arrived): &(i64, u64)| {
            let now = start + Duration::from_secs(*arrived);
            let (from, until) = coverage.advance(Some(made * 1_000), Some(0), now);
            let seconds = |at: Instant| at.saturating_duration_since(start).as_secs();
            (seconds(from), seconds(until))
        };
        reports.iter().map(advance).collect()
    }

    #[test]
    fn timely_reports_cover_the_time_between() {
        assert_eq!(
            covered(&[(1, 101), (2, 102), (6, 106)]),
            [(100, 101), (101, 102), (102, 106)]
        );
    }

    #[test]
    fn late_reports_cover_the_time_of_their_counts() {
        let stalled = [(10, 10), (15, 30), (20, 30), (30, 30), (31, 31)];
        assert_eq!(
            covered(&stalled),
            [(0, 10), (10, 15), (15, 20), (20, 30), (30, 31)]
        );
        let lost_in_between = [(10, 10), (30, 30)];
        assert_eq!(covered(&lost_in_between), [(0, 10), (10, 30)]);
    }

    #[test]
    fn clock_jumps_are_tolerated() {
        let forwards = [(10, 10), (9_999, 11), (10_000, 12)];
        assert_eq!(covered(&forwards), [(0, 10), (10, 11), (11, 12)]);
        let backwards = [(1_000, 1_000), (20, 1_001), (21, 1_002)];
        assert_eq!(
            covered(&backwards),
            [(0, 1_000), (1_000, 1_001), (1_001, 1_002)]
        );
    }

    #[test]
    fn slow_clock_causes_no_delay() {
        let start = Instant::now();
        let mut coverage = Coverage::default();
        for second in 0..10_000 {
            let now = start + Duration::from_secs(second);
            let made = i64::try_from(second * 995).unwrap_or_default();
            let (_, until) = coverage.advance(Some(made), None, now);
            assert!(now - until < Duration::from_millis(10));
        }
    }

    #[test]
    fn report_without_time_ends_on_arrival() {
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let mut coverage = Coverage::default();
        assert_eq!(coverage.advance(None, Some(0), at(1)), (at(1), at(1)));
        assert_eq!(coverage.advance(None, Some(0), at(3)), (at(1), at(3)));
    }
}
