//! Lesson 2: the bottleneck of a round's requests.

use std::{cmp::Reverse, collections::BTreeMap, time::Duration};

use jiff::Timestamp;

use crate::{
    cli::pluralize,
    lessons::{
        context::Context,
        report::Report,
        round::{ANNOUNCER, EDGES, Marker, SlowPart},
    },
    traces::{FoundTrace, Query, printable},
};

/// The time after which all spans of a round have arrived. Services export every second.
const SETTLE_DELAY: Duration = Duration::from_secs(2);

const BOTTLENECK: &str = "the bottleneck";

/// A service and a span's name.
type Operation = (String, String);

pub(crate) async fn check(context: &Context) -> anyhow::Result<Report> {
    let mut report = Report::default();
    let Some(marker) = newest_round(context).await? else {
        return Ok(report.with_missing("a round", "start one with `spoor lesson 2 --start`"));
    };
    let query = Query {
        tags: marker.tags(),
        ..context.query()
    };
    let traces = context.traces.newest(&EDGES, &query).await?;
    let spans: usize = traces.iter().map(|it| it.tree.rows().len()).sum();
    let spans = pluralize(spans, "span", "spans");
    let read = pluralize(traces.len(), "trace", "traces");
    report.add_source(format!("round {marker}: {read}, {spans}"));
    // The slow part may be in one of the missing traces.
    let sent = SlowPart::of(marker.seed).requests();
    if traces.len() < sent {
        let read = traces.len();
        let seen = format!("{read} of {sent} can be read; start another round");
        return Ok(report.with_missing("the traces of the latest round", seen));
    }
    let end = traces.iter().map(|it| it.tree.end()).max();
    if end.is_none_or(|end| !has_settled(end, Timestamp::now())) {
        let seen = "the last ones may not have arrived yet";
        return Ok(report.with_missing("all spans of the round", seen));
    }
    let mut times: Vec<(Operation, Duration)> = self_times(&traces).into_iter().collect();
    times.sort_by_key(|(_, time)| Reverse(*time));
    match context.answers.one().and_then(|it| it.split_once(':')) {
        Some(answer) => judge(&mut report, answer, &times),
        None => report.unanswered(BOTTLENECK, context.answers.missing_options()),
    }
    Ok(report)
}

/// True if all spans have had time to arrive. While a span is missing, its time counts as its
/// parent's.
pub(super) fn has_settled(end: u64, now: Timestamp) -> bool {
    let since = now.as_nanosecond() - i128::from(end);
    u128::try_from(since).is_ok_and(|since| since >= SETTLE_DELAY.as_nanos())
}

/// The round that was started last. Its announcement arrives even if its traces do not, so no
/// earlier round is judged in its place.
async fn newest_round(context: &Context) -> anyhow::Result<Option<Marker>> {
    let announcements = context.traces_of(ANNOUNCER).await?;
    let rounds = announcements.iter();
    Ok(rounds.filter_map(|it| Marker::announced(&it.tree)).max())
}

/// The self time of each operation: the time of its spans without that of their children.
fn self_times(traces: &[FoundTrace]) -> BTreeMap<Operation, Duration> {
    let mut times = BTreeMap::new();
    for row in traces.iter().flat_map(|found| found.tree.rows()) {
        let (service, name) = (row.member.service(), &row.member.span.name);
        let operation = (printable(service), printable(name));
        *times.entry(operation).or_default() += row.self_time;
    }
    times
}

/// Compares the answer with the self times, which are sorted, the longest first.
fn judge(report: &mut Report, (service, span): (&str, &str), times: &[(Operation, Duration)]) {
    let what = BOTTLENECK;
    let all: Duration = times.iter().map(|(_, time)| *time).sum();
    let share = |time: &Duration| 100.0 * time.as_secs_f64() / all.as_secs_f64().max(1e-9);
    let is_answer = |(found, name): &Operation| {
        // gRPC spans are named by package, service and method; people often use the last part only.
        let last = name.rsplit('/').next().unwrap_or(name);
        found == service.trim() && (name == span.trim() || last == span.trim())
    };
    let rank = times.iter().position(|(operation, _)| is_answer(operation));
    let named = rank.and_then(|rank| times.get(rank));
    match (rank, named) {
        (Some(0), Some(((service, span), time))) => report.passed(
            what,
            format!("{span} in {service}, {:.0} % of the time", share(time)),
        ),
        // The message does not reveal which span has more, since that is the exercise.
        (_, Some((_, time))) => report.wrong(
            what,
            format!(
                "{:.0} % of the time is its own, without the spans below it; another has more",
                share(time)
            ),
        ),
        _ => {
            let (span, service) = (printable(span.trim()), printable(service.trim()));
            let seen = format!("no span {span:?} of service {service:?} is in these traces");
            report.wrong(what, seen);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn report_on(answer: &str) -> String {
        let operation = |service: &str, span: &str| (service.to_owned(), span.to_owned());
        let times = [
            (operation("b", "x.Y/Work"), Duration::from_millis(900)),
            (operation("a", "GET /"), Duration::from_millis(100)),
        ];
        let mut report = Report::default();
        judge(&mut report, answer.split_once(':').unwrap(), &times);
        report.to_string()
    }

    #[test]
    fn round_settles_after_the_delay() {
        let end = 10_000_000_000;
        let at = |milliseconds| Timestamp::from_millisecond(milliseconds).unwrap_or_default();
        assert!(!has_settled(end, at(9_000)) && !has_settled(end, at(11_999)));
        assert!(has_settled(end, at(12_000)));
    }

    #[test]
    fn accepts_only_the_largest_share() {
        assert!(report_on("b: Work").contains("90 % of the time"));
        assert!(report_on("b:x.Y/Work").contains("ok"));
        assert!(report_on("a: GET /").contains("another has more"));
        assert!(report_on("c: Work").contains("no span"));
    }
}
