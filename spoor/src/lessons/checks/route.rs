//! Lesson 6: the benefits and the cost of a stage between services and store.

use std::{ops::RangeInclusive, time::Duration};

use jiff::Timestamp;
use spoor_api::{
    KeepRule, SamplingPolicy,
    status::{Condition, ConditionStatus},
};

use super::{
    in_force::{check_heads, targets_only, true_since},
    metrics::scrape,
};
use crate::{
    lessons::{
        answers::{Answers, number, seconds},
        context::Context,
        policies::Policies,
        report::Report,
    },
    traces::{FoundTrace, short_duration},
};

/// The lesson's policy.
const POLICY: &str = "slow-only";
/// The service at which its traces start.
const SERVICE: &str = "service-a";
/// The minimum duration of the traces that the lesson's policy keeps.
const SLOWER_THAN: Duration = Duration::from_millis(400);
/// The lab's metric with the time at which it last dropped a trace that no tail rule kept.
const LAST_DROPPED: &str = "spoor_traces_last_dropped_timestamp_seconds ";
/// The rate in the lesson's question.
const REQUESTS_PER_SECOND: f64 = 1000.0;
/// The tolerated relative error of the answer.
const TOLERANCE: f64 = 0.25;
/// The fewest slow traces that pass.
const MIN_TRACES: usize = 3;
/// The waits accepted for a cluster, in seconds. The check cannot read the decision wait of its
/// sampler.
const CLUSTER_WAIT_SECONDS: RangeInclusive<f64> = 1.0..=30.0;
/// The range of answers accepted for the wait, as shares of a lab's decision wait of 2 s. Each of
/// the two measured times includes an export, which takes up to a second, so their difference
/// varies. Either time by itself must be out of range: about 1 s directly, and over 3 s through the
/// stage.
const ACCEPTED_SHARE: RangeInclusive<f64> = 0.6..=1.5;

pub(crate) async fn check(context: &Context) -> anyhow::Result<Report> {
    let mut report = Report::default();
    report.add_source(format!("the policy {POLICY} and the traces of {SERVICE}"));
    let policy = context.policies.named(POLICY).await?;
    let Some(policy) = policy else {
        return Ok(report.with_missing("the policy slow-only", "there is no policy of this name"));
    };
    check_heads(&mut report, &context.policies.all().await?, SERVICE);
    check_policy(&mut report, &policy);
    // Traces from before the policy show what it changed, so its time is needed.
    let Some(programmed) = true_since(&policy, Condition::PROGRAMMED) else {
        return Ok(report);
    };
    let found = context.traces_of(SERVICE).await?;
    let is_held = |it: &&FoundTrace| is_held(it, programmed);
    let (held, direct): (Vec<&FoundTrace>, Vec<&FoundTrace>) = found.iter().partition(is_held);
    check_traces(&mut report, &direct, &held);
    let mut waits = CLUSTER_WAIT_SECONDS;
    if let Policies::Lab(lab) = &context.policies {
        let status = lab.status().await?;
        waits = accepted_waits(Duration::from_millis(status.decision_wait_milliseconds));
        if let Some(admin) = status.urls.get("admin") {
            let metrics = scrape(&format!("{admin}/metrics")).await?;
            check_dropped(&mut report, &metrics, programmed);
        }
    }
    check_cost(&mut report, &context.answers, &held, &waits);
    Ok(report)
}

/// Checks that the stage has dropped traces, which requires fast requests. On a cluster this is not
/// checked, since it would need the sampler's metrics.
fn check_dropped(report: &mut Report, metrics: &str, programmed: Timestamp) {
    let mut lines = metrics.lines();
    let last = lines.find_map(|line| line.strip_prefix(LAST_DROPPED)?.parse().ok());
    let last = last.and_then(|seconds| Timestamp::from_second(seconds).ok());
    let what = "the stage dropped traces that no rule keeps";
    match last {
        Some(last) if last > programmed => report.passed(what, format!("the last at {last}")),
        _ => report.missing(
            what,
            "none since the policy was last changed; send fast requests, too",
        ),
    }
}

/// The answers accepted for a decision wait, in seconds.
fn accepted_waits(decision_wait: Duration) -> RangeInclusive<f64> {
    let wait = decision_wait.as_secs_f64();
    ACCEPTED_SHARE.start() * wait..=ACCEPTED_SHARE.end() * wait
}

fn check_policy(report: &mut Report, policy: &SamplingPolicy) {
    let what = "the policy keeps slow traces only";
    let (keep, otherwise) = match &policy.spec.tail {
        Some(tail) => (tail.keep.as_slice(), tail.otherwise.as_str()),
        None => (&[][..], "100%"),
    };
    let (slow, others): (Vec<&KeepRule>, Vec<&KeepRule>) =
        keep.iter().partition(|rule| rule.slower_than.is_some());
    let threshold = slow.first().and_then(|rule| rule.slower_than.as_deref());
    let asked = short_duration(SLOWER_THAN);
    if !targets_only(&policy.spec.targets, SERVICE, &[]) {
        report.wrong(what, "it must target all of service-a, and nothing else");
    } else if let Some(other) = others.first().or(slow.get(1)) {
        let name = &other.name;
        let seen = format!("its rule {name} keeps others; leave only one slow rule");
        report.wrong(what, seen);
    } else if threshold.and_then(|it| crate::cli::duration(it).ok()) != Some(SLOWER_THAN) {
        let seen = threshold.map_or("no slowerThan".to_owned(), |it| format!("slowerThan: {it}"));
        let seen = format!("it has {seen} under tail.keep; set slowerThan: {SLOWER_THAN:?}");
        report.wrong(what, seen);
    } else if otherwise != "0%" {
        let seen = format!("it keeps {otherwise} of the others; set otherwise: 0%");
        report.wrong(what, seen);
    } else {
        report.passed(what, format!("slower than {asked}"));
    }
    let what = "a stage between the services and the store decides";
    match policy.condition(Condition::PROGRAMMED) {
        Some(it) if it.status == ConditionStatus::True => report.passed(what, &it.message),
        Some(it) => report.missing(what, format!("{}: {}", it.reason, it.message)),
        None => report.missing(what, "the policy has no status yet"),
    }
}

/// True if a trace started after the policy was programmed. The status has whole seconds, so a
/// fast trace within the same second may have started before.
fn is_held(found: &FoundTrace, programmed: Timestamp) -> bool {
    const SECOND: i128 = 1_000_000_000;
    let since = i128::from(found.tree.start()) - programmed.as_nanosecond();
    since >= SECOND || (since >= 0 && found.tree.duration() >= SLOWER_THAN)
}

/// Checks that fast traces were kept before the policy, and only slow ones since.
fn check_traces(report: &mut Report, direct: &[&FoundTrace], held: &[&FoundTrace]) {
    let is_quick = |it: &&&FoundTrace| it.tree.duration() < SLOWER_THAN;
    let quick = direct.iter().filter(is_quick).count();
    let what = "without the policy, fast traces were kept too";
    let seen = format!("{quick} took less than {}", short_duration(SLOWER_THAN));
    report.expect(quick > 0, what, seen);
    let what = "since then, only slow ones were kept";
    match (held.iter().find(is_quick), held.len()) {
        (Some(quick), _) => {
            let took = short_duration(quick.tree.duration());
            report.wrong(what, format!("{} took only {took}", quick.id));
        }
        (None, slow) => {
            let seen = format!("{slow} since the policy was last changed, {MIN_TRACES} needed");
            report.expect(slow >= MIN_TRACES, what, seen);
        }
    }
}

fn check_cost(
    report: &mut Report,
    answers: &Answers,
    held: &[&FoundTrace],
    waits: &RangeInclusive<f64>,
) {
    let what = "the cost: the time a trace is held, and the number of spans held at once";
    let wait = answers.named("wait").and_then(seconds);
    let spans = answers.named("spans").and_then(number);
    let (Some(wait), Some(answered)) = (wait, spans) else {
        report.unanswered(what, answers.missing_options());
        return;
    };
    let answered = answered as f64;
    if !waits.contains(&wait) {
        // The message reveals neither the right wait nor whether this one is longer.
        let seen = format!(
            "{wait} s is not how much longer a trace takes with the policy than without; measure \
             both times again, since each varies by up to a second"
        );
        report.wrong(what, seen);
        return;
    }
    let Some(each) = mean_spans(held) else {
        let seen = "no trace whose spans could be counted has arrived since then";
        report.missing(what, seen);
        return;
    };
    let at_once = REQUESTS_PER_SECOND * wait * each;
    if (answered - at_once).abs() <= TOLERANCE * at_once {
        let seen = format!("{REQUESTS_PER_SECOND} requests per second × {wait} s × {each} spans");
        report.passed(what, format!("{seen}: about {at_once:.0}"));
    } else {
        // The message does not give the formula, which is for the learner to find.
        let side = if answered < at_once { "few" } else { "many" };
        let seen = format!("{answered} spans are too {side} for a wait of {wait} s");
        report.wrong(what, seen);
    }
}

/// The average number of spans of a trace, rounded to two decimals, so that the printed product is
/// correct.
fn mean_spans(found: &[&FoundTrace]) -> Option<f64> {
    let spans: usize = found.iter().map(|it| it.tree.rows().len()).sum();
    let as_number = |number: usize| u32::try_from(number).map(f64::from).ok();
    let mean = as_number(spans)? / as_number(found.len()).filter(|traces| *traces > 0.0)?;
    Some((mean * 100.0).round() / 100.0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;
    use spoor_traces::tree::Tree;

    use super::*;
    use crate::{lessons::lesson::Lesson, traces::spans::span};

    /// A trace of two spans with a duration.
    fn trace(milliseconds: u64) -> FoundTrace {
        FoundTrace {
            id: "07".repeat(16),
            tree: Tree::new(vec![
                span(SERVICE, "GET /", 1, 0, 0, milliseconds),
                span("service-b", "Work", 2, 1, 0, milliseconds),
            ]),
        }
    }

    #[rstest::rstest]
    #[case(&[20], &[600, 600, 600], true)]
    #[case(&[20], &[600, 600], false)]
    #[case(&[20], &[600, 600, 600, 20], false)]
    #[case(&[600], &[600, 600, 600], false)]
    fn rejects_fast_traces_under_the_policy(
        #[case] direct: &[u64],
        #[case] held: &[u64],
        #[case] passes: bool,
    ) {
        let traces = |of: &[u64]| of.iter().copied().map(trace).collect::<Vec<_>>();
        let (direct, held) = (traces(direct), traces(held));
        let mut report = Report::default();
        check_traces(
            &mut report,
            &direct.iter().collect::<Vec<_>>(),
            &held.iter().collect::<Vec<_>>(),
        );
        assert_eq!(report.is_passed(), passes, "{report}");
    }

    #[rstest::rstest]
    #[case(1_999, 600, false)]
    #[case(2_000, 600, true)]
    #[case(2_999, 20, false)]
    #[case(3_000, 20, true)]
    fn traces_are_held_under_the_policy(
        #[case] start: u64,
        #[case] takes: u64,
        #[case] held: bool,
    ) {
        let found = FoundTrace {
            id: "07".repeat(16),
            tree: Tree::new(vec![span(SERVICE, "GET /", 1, 0, start, start + takes)]),
        };
        let programmed = Timestamp::from_second(2).unwrap();
        assert_eq!(is_held(&found, programmed), held);
    }

    #[rstest::rstest]
    #[case("2", "4000", true)]
    #[case("1.97", "3940", true)]
    #[case("3", "6000", true)]
    #[case("3.114", "6228", false)]
    #[case("1.144", "2288", false)]
    #[case("4", "8000", false)]
    #[case("1", "2000", false)]
    #[case("0.7", "1400", false)]
    #[case("5", "10000", false)]
    #[case("30", "60000", false)]
    #[case("2", "2000", false)]
    #[case("2", "20000", false)]
    #[case("0.1", "200", false)]
    fn rejects_wrong_cost_without_the_formula(
        #[case] wait: &str,
        #[case] spans: &str,
        #[case] passes: bool,
    ) {
        let mut report = Report::default();
        let given = vec![format!("wait={wait}"), format!("spans={spans}")];
        let answers = Answers::new("6", Lesson::Route.facts().answers, given).unwrap();
        let waits = accepted_waits(Duration::from_secs(2));
        check_cost(&mut report, &answers, &[&trace(600)], &waits);
        assert_eq!(report.is_passed(), passes, "{report}");
        assert_eq!(report.to_string().contains('×'), passes, "{report}");
    }

    #[test]
    fn printed_product_is_correct() {
        let mut traces = vec![trace(600); 3];
        traces.push(FoundTrace {
            id: "08".repeat(16),
            tree: Tree::new(vec![span(SERVICE, "GET /", 1, 0, 0, 600)]),
        });
        let given = vec!["wait=2".to_owned(), "spans=3500".to_owned()];
        let answers = Answers::new("6", Lesson::Route.facts().answers, given).unwrap();
        let mut report = Report::default();
        let traces: Vec<&FoundTrace> = traces.iter().collect();
        check_cost(
            &mut report,
            &answers,
            &traces,
            &accepted_waits(Duration::from_secs(2)),
        );
        let product = "1000 requests per second × 2 s × 1.75 spans: about 3500";
        assert!(report.to_string().contains(product), "{report}");
    }

    #[rstest::rstest]
    #[case("", false)]
    #[case("spoor_traces_last_dropped_timestamp_seconds 0", false)]
    #[case("spoor_traces_last_dropped_timestamp_seconds 1000", false)]
    #[case("spoor_traces_last_dropped_timestamp_seconds 1001", true)]
    fn requires_a_dropped_trace(#[case] metrics: &str, #[case] passes: bool) {
        let mut report = Report::default();
        let programmed = Timestamp::constant(1000, 0);
        check_dropped(&mut report, metrics, programmed);
        assert_eq!(report.is_passed(), passes, "{report}");
    }

    #[rstest::rstest]
    #[case(json!([{"name": "slow", "slowerThan": "400ms"}]), "0%", "slower than 400 ms")]
    #[case(json!([{"name": "slow", "slowerThan": "1ms"}]), "0%", "it has slowerThan: 1ms")]
    #[case(json!([]), "0%", "it has no slowerThan")]
    #[case(json!([{"name": "slow", "slowerThan": "400ms"}]), "10%", "10% of the others")]
    #[case(json!([{"name": "slow", "slowerThan": "400ms"}, {"name": "red", "error": {}}]),
        "0%", "its rule red keeps others")]
    fn accepts_only_the_lessons_rules(
        #[case] keep: serde_json::Value,
        #[case] otherwise: &str,
        #[case] seen: &str,
    ) {
        let tail = json!({"keep": keep, "otherwise": otherwise});
        let report = report_on(&json!([{"service": SERVICE}]), &tail);
        assert!(report.contains(seen), "{report}");
    }

    #[rstest::rstest]
    #[case(json!([{"service": "service-a"}]), true)]
    #[case(json!([{"service": "service-b"}]), false)]
    #[case(json!([{"service": "service-a"}, {"service": "service-b"}]), false)]
    #[case(json!([{"service": "service-a", "operations": ["GET /"]}]), false)]
    #[case(json!([]), false)]
    fn accepts_only_the_lessons_target(#[case] targets: serde_json::Value, #[case] passes: bool) {
        let keep = json!([{"name": "slow", "slowerThan": "400ms"}]);
        let report = report_on(&targets, &json!({"keep": keep, "otherwise": "0%"}));
        let seen = "it must target all of service-a, and nothing else";
        assert_eq!(report.contains(seen), !passes, "{report}");
    }

    fn report_on(targets: &serde_json::Value, tail: &serde_json::Value) -> String {
        let policy = json!({
            "apiVersion": "spoor.dev/v1alpha1",
            "kind": "SamplingPolicy",
            "metadata": {"name": POLICY},
            "spec": {"targets": targets, "tail": tail},
        });
        let mut report = Report::default();
        check_policy(&mut report, &serde_json::from_value(policy).unwrap());
        report.to_string()
    }
}
