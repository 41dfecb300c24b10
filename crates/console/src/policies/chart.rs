//! The observed rate over time, as SVG.

use std::fmt::Write;

use maud::{Markup, html};

use crate::{history::ObservedPoint, text};

/// The size of a chart, and the most points that it shows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub width: u32,
    pub height: u32,
    pub max_points: usize,
}

/// The size in a row of the table.
pub(super) const SMALL: Size = Size {
    width: 140,
    height: 32,
    max_points: 40,
};
/// The size on a policy's page.
pub(super) const LARGE: Size = Size {
    width: 720,
    height: 180,
    max_points: 240,
};

/// The chart: a line within the band of its interval, and the target as a dashed line. Empty for fewer
/// than two points.
pub(super) fn chart(points: &[ObservedPoint], target: Option<f64>, size: Size) -> Markup {
    let points = latest(points, size.max_points);
    let (Some(first), Some(last)) = (points.first(), points.last()) else {
        return html! {};
    };
    if points.len() < 2 {
        return html! {};
    }
    let scale = Scale::new(&points, target, size);
    let seconds = last.time.duration_since(first.time).as_secs();
    let seconds = u64::try_from(seconds).unwrap_or(0);
    let period = text::duration(std::time::Duration::from_secs(seconds));
    html! {
        svg .chart role="img" viewBox=(format!("0 0 {} {}", size.width, size.height))
            width=(size.width) height=(size.height) {
            title { "Observed rate over " (period) }
            desc {
                "Last " (percentage(last.rate))
                ", interval " (percentage(last.lower)) " to " (percentage(last.upper))
                @if let Some(target) = target { "; the policy has " (percentage(target)) }
            }
            path .band d=(scale.band(&points)) {}
            path .line d=(scale.line(points.iter().map(|it| (it, it.rate)), 'M')) {}
            @if let Some(target) = target {
                @let y = format!("{:.1}", scale.y(target));
                line .target x1="0" x2=(size.width) y1=(y) y2=(y) {}
            }
        }
    }
}

/// A share in percent with at most three significant digits: `0.98%`.
pub(super) fn percentage(share: f64) -> String {
    let percent = share * 100.0;
    let digits = match percent {
        10.0.. => 1,
        1.0.. => 2,
        _ => 4,
    };
    let number = format!("{percent:.digits$}");
    let number = number.trim_end_matches('0').trim_end_matches('.');
    format!("{number}%")
}

/// The latest point and the others at even distances before it.
fn latest(points: &[ObservedPoint], max: usize) -> Vec<ObservedPoint> {
    let step = points.len().div_ceil(max.max(1)).max(1);
    let mut latest: Vec<ObservedPoint> = points.iter().rev().step_by(step).copied().collect();
    latest.reverse();
    latest
}

struct Scale {
    start: f64,
    seconds: f64,
    top: f64,
    size: Size,
}

impl Scale {
    fn new(points: &[ObservedPoint], target: Option<f64>, size: Size) -> Self {
        let time = |point: Option<&ObservedPoint>| point.map_or(0.0, seconds_of);
        let (start, end) = (time(points.first()), time(points.last()));
        let highest = points.iter().map(|point| point.upper.max(point.rate));
        let highest = highest.fold(target.unwrap_or(0.0), f64::max);
        Self {
            start,
            seconds: (end - start).max(1.0),
            // A margin, so that no line is at the edge.
            top: (highest * 1.1).max(1e-6),
            size,
        }
    }

    fn x(&self, point: &ObservedPoint) -> f64 {
        (seconds_of(point) - self.start) / self.seconds * f64::from(self.size.width)
    }

    fn y(&self, share: f64) -> f64 {
        (1.0 - share / self.top) * f64::from(self.size.height)
    }

    /// A line through points, that begins with this command of SVG.
    fn line<'a>(
        &self,
        points: impl Iterator<Item = (&'a ObservedPoint, f64)>,
        first: char,
    ) -> String {
        let mut path = String::new();
        let mut command = first;
        for (point, share) in points {
            let (x, y) = (self.x(point), self.y(share));
            // Writing to a string does not fail.
            let _ = write!(path, "{command}{x:.1} {y:.1}");
            command = 'L';
        }
        path
    }

    /// The area between the ends of the intervals.
    fn band(&self, points: &[ObservedPoint]) -> String {
        let upper = self.line(points.iter().map(|it| (it, it.upper)), 'M');
        let lower = self.line(points.iter().rev().map(|it| (it, it.lower)), 'L');
        format!("{upper}{lower}Z")
    }
}

fn seconds_of(point: &ObservedPoint) -> f64 {
    point.time.as_millisecond() as f64 / 1e3
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use jiff::Timestamp;

    use super::*;

    fn point(second: i64, rate: f64) -> ObservedPoint {
        ObservedPoint {
            time: Timestamp::from_second(second).unwrap(),
            rate,
            lower: rate / 2.0,
            upper: rate * 2.0,
            kept_per_second: 1.0,
        }
    }

    #[test]
    fn chart_has_line_band_and_target() {
        let points = [point(0, 0.01), point(10, 0.02)];
        let size = Size {
            width: 100,
            height: 44,
            max_points: 10,
        };
        let svg = chart(&points, Some(0.01), size).into_string();
        // The top is 0.044, so the height is as many pixels as its thousandths.
        assert!(svg.contains("d=\"M0.0 34.0L100.0 24.0\""), "{svg}");
        assert!(
            svg.contains("d=\"M0.0 24.0L100.0 4.0L100.0 34.0L0.0 39.0Z\""),
            "{svg}"
        );
        assert!(svg.contains("y1=\"34.0\" y2=\"34.0\""), "{svg}");
        assert!(
            svg.contains("interval 1% to 4%; the policy has 1%"),
            "{svg}"
        );
    }

    #[test]
    fn single_point_has_no_chart() {
        assert_eq!(chart(&[point(0, 0.01)], None, SMALL).into_string(), "");
        assert_eq!(chart(&[], None, SMALL).into_string(), "");
    }

    #[test]
    fn many_points_are_thinned_out() {
        let points: Vec<_> = (0..240).map(|second| point(second, 0.5)).collect();
        let latest = latest(&points, 40);
        assert_eq!(latest.len(), 40);
        assert_eq!(latest.last(), points.last());
    }

    #[rstest::rstest]
    #[case(0.0, "0%")]
    #[case(0.000_001, "0.0001%")]
    #[case(0.0098, "0.98%")]
    #[case(0.1, "10%")]
    #[case(0.123_4, "12.3%")]
    #[case(1.0, "100%")]
    fn percentages_are_short(#[case] share: f64, #[case] expected: &str) {
        assert_eq!(percentage(share), expected);
    }
}
