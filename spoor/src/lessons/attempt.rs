//! A check of a lesson, repeated while spans may still arrive.

use std::time::Duration;

use tokio::time::Instant;

use super::{context::Context, lesson::Lesson, report::Report};

/// The time between attempts of a check.
const CHECK_INTERVAL: Duration = Duration::from_millis(200);

/// Checks until the exercise is done, no span is missing any more, or the wait is over. Unless it
/// is done, the report also names what may be the reason.
///
/// # Errors
/// Data that cannot be read.
pub async fn check(lesson: Lesson, context: &Context, wait: Duration) -> anyhow::Result<Report> {
    let deadline = Instant::now() + wait;
    let mut report = loop {
        let report = lesson.check(context).await?;
        let is_last = Instant::now() >= deadline;
        if !report.can_change() || is_last {
            break report;
        }
        tokio::time::sleep(CHECK_INTERVAL).await;
    };
    if !report.is_passed() {
        let services = lesson.requested_services();
        context.report_services(&mut report, services).await;
        let (services, parts) = (lesson.traced_services(), lesson.deciding_parts());
        context.report_policies(&mut report, services, parts).await;
    }
    Ok(report)
}
