//! Cells of tables: rates, shares of errors and latencies.

use std::time::Duration;

use maud::{Markup, html};
use spoor_traces::figures::RequestFigures;

use crate::text;

/// The header cells that belong to [`cells`].
pub(super) fn headers() -> Markup {
    html! {
        th .number scope="col" { "Requests/s" }
        th .number scope="col" { "Errors" }
        th .number scope="col" { "p50" }
        th .number scope="col" { "p95" }
        th .number scope="col" { "p99" }
    }
}

/// The cells with the figures of requests.
pub(super) fn cells(figures: &RequestFigures, period: Duration) -> Markup {
    html! {
        td .number { (rate(figures.count, period)) }
        (errors_cell(figures.errors, figures.count))
        @for share in [0.5, 0.95, 0.99] {
            td .number {
                @if let Some(latency) = figures.latencies.percentile(share) {
                    (text::duration(latency))
                }
            }
        }
    }
}

/// The cell with the share of errors, marked if there are any.
pub(super) fn errors_cell(errors: f64, count: f64) -> Markup {
    html! {
        td .number {
            @if errors > 0.0 {
                span .badge .error { (share(errors, count)) }
            } @else {
                (share(errors, count))
            }
        }
    }
}

/// A number per second with two or three significant digits.
pub(super) fn rate(count: f64, period: Duration) -> String {
    match count / period.as_secs_f64().max(1.0) {
        rate if rate >= 100.0 => format!("{rate:.0}"),
        rate if rate >= 10.0 => format!("{rate:.1}"),
        rate if rate >= 0.01 || rate <= 0.0 => format!("{rate:.2}"),
        _ => "<0.01".to_owned(),
    }
}

fn share(part: f64, whole: f64) -> String {
    if part <= 0.0 || whole <= 0.0 {
        return "0 %".to_owned();
    }
    match 100.0 * part / whole {
        share if share < 0.1 => "<0.1 %".to_owned(),
        share => format!("{share:.1} %"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case(0.0, "0.00")]
    #[case(0.1, "<0.01")]
    #[case(123.0, "1.23")]
    #[case(1_234.0, "12.3")]
    #[case(123_400.0, "1234")]
    fn rates_are_short(#[case] count: f64, #[case] expected: &str) {
        assert_eq!(rate(count, Duration::from_secs(100)), expected);
    }

    #[rstest::rstest]
    #[case(0.0, 10.0, "0 %")]
    #[case(1.0, 10_000.0, "<0.1 %")]
    #[case(1.0, 8.0, "12.5 %")]
    #[case(1.0, 0.0, "0 %")]
    fn shares_have_one_decimal(#[case] part: f64, #[case] whole: f64, #[case] expected: &str) {
        assert_eq!(share(part, whole), expected);
    }
}
