//! Lesson 6: what a stage between services and store can do, and what it costs.

use std::time::Duration;

use spoor_api::status::{Condition, ConditionStatus};

use crate::{
    lessons::{place::Place, policies::Policy, report::Report},
    traces::Found,
};

/// The lesson's policy.
const POLICY: &str = "slow-only";
/// Where its traces start.
const SERVICE: &str = "service-a";
/// What the lesson has the learner imagine.
const REQUESTS_A_SECOND: f64 = 1000.0;
/// How far an answer may be off.
const TOLERANCE: f64 = 0.25;
/// What waits less waits for nothing; nobody waits longer.
const WAITS: std::ops::RangeInclusive<f64> = 1.0..=30.0;

pub(crate) async fn check(place: &Place) -> anyhow::Result<Report> {
    let mut report = Report::new();
    report.looked_at(format!("the policy {POLICY} and the traces of {SERVICE}"));
    let policy = place.policies.named(POLICY).await?;
    let Some(slower_than) = policy.as_ref().and_then(|it| asked(&mut report, it)) else {
        if policy.is_none() {
            report.missing("the policy slow-only", "there is none of this name");
        }
        return Ok(report);
    };
    let found = place.traces_of(SERVICE).await?;
    let is_slow = |it: &&Found| it.tree.duration() >= slower_than;
    let newest: Vec<&Found> = found.iter().take_while(is_slow).collect();
    of_traces(&mut report, &found, newest.len(), slower_than);
    of_the_price(&mut report, place, &newest);
    Ok(report)
}

/// From which duration on the policy keeps a trace, if it can do so.
fn asked(report: &mut Report, policy: &Policy) -> Option<Duration> {
    let what = "it keeps slow traces only";
    let tail = policy.spec.tail.as_ref();
    let rule = tail.and_then(|tail| {
        tail.keep
            .iter()
            .find_map(|rule| rule.slower_than.as_deref())
    });
    let slower_than = rule.and_then(|text| crate::cli::duration(text).ok());
    let others = tail.map(|tail| tail.otherwise.as_str());
    match (slower_than, others) {
        (Some(slower), Some("0%")) => report.passed(what, format!("slower than {slower:?}")),
        (_, Some(others)) if others != "0%" => {
            report.wrong(
                what,
                format!("of all others it keeps {others}: otherwise: 0%"),
            );
        }
        _ => report.wrong(what, "it has no rule slowerThan under tail.keep"),
    }
    let mut conditions = policy.status.iter().flat_map(|it| &it.conditions);
    let programmed = conditions.find(|it| it.kind == Condition::PROGRAMMED);
    let what = "somebody between the services and the store decides";
    match programmed {
        Some(is) if is.status == ConditionStatus::True => report.passed(what, &is.message),
        Some(is) => report.missing(what, format!("{}: {}", is.reason, is.message)),
        None => report.missing(what, "the policy has no status yet"),
    }
    slower_than
}

/// On the direct way each came to be seen; by the policy only the slow ones do.
fn of_traces(report: &mut Report, found: &[Found], newest: usize, slower_than: Duration) {
    let is_quick = |it: &&Found| it.tree.duration() < slower_than;
    let quick = found.iter().filter(is_quick).count();
    report.expect(
        quick > 0,
        "directly, quick traces came too",
        format!("{quick} took less than {slower_than:?}"),
    );
    report.expect(
        newest >= 3,
        "now only slow ones do",
        format!("the newest {newest} took longer, 3 or more are asked for"),
    );
}

fn of_the_price(report: &mut Report, place: &Place, held: &[&Found]) {
    let what = "the price: how long it holds a trace, and how many spans at once";
    let wait = place.answers.named("wait").and_then(seconds);
    let spans = place.answers.named("spans").and_then(|it| it.parse().ok());
    let (Some(wait), Some(answered)): (Option<f64>, Option<f64>) = (wait, spans) else {
        let seen = "spoor check 6 --answer wait=SECONDS --answer spans=NUMBER";
        report.wrong(what, seen);
        return;
    };
    if !WAITS.contains(&wait) {
        let seen = format!("{wait} s is no time in which a trace becomes whole: measure it");
        report.wrong(what, seen);
        return;
    }
    let Some(each) = spans_of_each(held) else {
        report.missing(what, "no trace to count the spans of");
        return;
    };
    let at_once = REQUESTS_A_SECOND * wait * each;
    let seen = format!("{REQUESTS_A_SECOND} requests a second × {wait} s × {each:.1} spans");
    if (answered - at_once).abs() <= TOLERANCE * at_once {
        report.passed(what, format!("{seen} = {at_once:.0}"));
    } else {
        report.wrong(what, format!("{answered} is not {seen}"));
    }
}

/// On average.
fn spans_of_each(found: &[&Found]) -> Option<f64> {
    let spans: usize = found.iter().map(|it| it.tree.rows().len()).sum();
    let as_number = |number: usize| u32::try_from(number).map(f64::from).ok();
    Some(as_number(spans)? / as_number(found.len()).filter(|traces| *traces > 0.0)?)
}

/// `2`, `2.1` or `2.1s`.
fn seconds(text: &str) -> Option<f64> {
    let number: f64 = text.trim_end_matches('s').trim().parse().ok()?;
    number.is_finite().then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case("2", Some(2.0))]
    #[case("2.5s", Some(2.5))]
    #[case("2 s", Some(2.0))]
    #[case("soon", None)]
    #[case("inf", None)]
    #[case("", None)]
    fn reads_seconds(#[case] text: &str, #[case] number: Option<f64>) {
        assert_eq!(seconds(text), number);
    }
}
