//! Lesson 8: a policy that keeps every trace with an error, and a share of the others.

use jiff::{SignedDuration, Timestamp};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use spoor_api::{SamplingPolicy, status::Condition};
use spoor_policy::Probability;
use spoor_traces::tree::{Row, Tree};

use super::in_force::{check_heads, true_since};
use crate::{
    cli::pluralize,
    lessons::{context::Context, report::Report},
    traces::{FoundTrace, Part, effective_at},
};

const SERVICE: &str = "service-a";
/// The service in which the errors of the lesson begin, unless the learner chose service-a.
const CALLEE: &str = "service-b";
/// The fewest failed requests. With fewer, all could be kept by chance.
const MIN_FAILED: usize = 10;
/// The largest share of the other traces that the lesson allows.
const MAX_OTHERWISE: f64 = 0.9;
const ERROR_RULE: &str = "a tail rule that keeps the errors of service-a";
const ALL_FAILED: &str = "a trace for each request that failed";
/// The fix when the numbers differ, since requests are counted from the last change of the policy.
const START_AGAIN: &str = "delete the policy, apply it again, and send load once";

pub(crate) async fn check(context: &Context) -> anyhow::Result<Report> {
    let mut report = Report::default();
    let policies = context.policies.all().await?;
    let read = pluralize(policies.len(), "policy", "policies");
    report.add_source(format!("{read} and the traces of {SERVICE}"));
    check_heads(&mut report, &policies, SERVICE);
    let Some(keeping) = error_policy(&policies) else {
        return Ok(report.with_missing(ERROR_RULE, missing_rule_reason(&policies)));
    };
    report.passed(ERROR_RULE, &keeping.metadata.name);
    check_otherwise(&mut report, keeping);
    match true_since(keeping, Condition::PROGRAMMED) {
        Some(programmed) => {
            let found = context.traces_of(SERVICE).await?;
            let started = |found: &&FoundTrace| is_since(found, programmed);
            let found: Vec<&FoundTrace> = found.iter().filter(started).collect();
            let failed = context.answers.named("failed");
            check_traces(&mut report, &found, programmed, failed);
        }
        None => report.missing("the policy is programmed", "not yet"),
    }
    Ok(report)
}

fn has_error_rule(policy: &SamplingPolicy) -> bool {
    let mut rules = policy.spec.tail.iter().flat_map(|tail| &tail.keep);
    rules.any(|rule| rule.error.is_some())
}

/// The reason that no effective policy keeps errors: often one left from another lesson.
fn missing_rule_reason(policies: &[SamplingPolicy]) -> String {
    let rule = "`tail.keep: [{name: errors, error: {}}]`";
    let with_rule = policies.iter().find(|policy| has_error_rule(policy));
    let with_rule = with_rule.map(|policy| &policy.metadata.name);
    let tails = effective_at(policies, SERVICE, Part::Tail);
    let mut effective = tails.iter().map(|(policy, _)| &policy.metadata.name);
    let other = effective.find(|name| Some(*name) != with_rule);
    match (with_rule, other) {
        (Some(name), Some(other)) => {
            format!("{name} has one, but {other} is effective there; delete {other}")
        }
        (Some(name), None) if tails.is_empty() => {
            format!(
                "{name} has one, but does not decide for {SERVICE}; see `spoor describe {name}`"
            )
        }
        (Some(name), None) => {
            format!("{name} has one, but not for all operations there; see `spoor describe {name}`")
        }
        (None, Some(other)) => {
            format!("{other} is effective there, without {rule}; delete {other}")
        }
        (None, None) => format!("no policy with {rule} is effective there"),
    }
}

/// The policy that keeps errors, if it is the only one that decides, and does so for all operations.
fn error_policy(policies: &[SamplingPolicy]) -> Option<&SamplingPolicy> {
    let tails = effective_at(policies, SERVICE, Part::Tail);
    match tails.as_slice() {
        [(policy, place)] if place.operation.is_none() && has_error_rule(policy) => Some(*policy),
        _ => None,
    }
}

fn check_otherwise(report: &mut Report, keeping: &SamplingPolicy) {
    let tail = keeping.spec.tail.as_ref();
    let otherwise = tail.map_or("", |tail| tail.otherwise.as_str());
    let share = otherwise.parse::<Probability>();
    let seen = format!("otherwise: {otherwise}");
    let what = "only a share of the traces without an error is kept";
    if share.is_ok_and(|share| share.as_f64() <= MAX_OTHERWISE) {
        report.passed(what, seen);
    } else {
        report.wrong(what, format!("{seen}; it must be at most 90%"));
    }
}

fn check_traces(
    report: &mut Report,
    found: &[&FoundTrace],
    programmed: Timestamp,
    answer: Option<&str>,
) {
    let failed: Vec<&&FoundTrace> = found.iter().filter(|it| it.tree.errors() > 0).collect();
    let answered = answer.and_then(|answer| answer.parse::<usize>().ok());
    let Some(answered) = answered else {
        let seen = "give the number of failed requests since the policy was applied, as `spoor load` printed it: --answer failed=N";
        report.unanswered(ALL_FAILED, seen);
        return;
    };
    // The status has whole seconds, so a trace of the same second may be from earlier load.
    let certain = |it: &&&&FoundTrace| is_since(it, programmed + SignedDuration::from_secs(1));
    let certain = failed.iter().filter(certain).count();
    if answered < MIN_FAILED {
        let seen = format!(
            "{answered} are too few to tell; at least {MIN_FAILED} must fail, such as with \
             `spoor fault service-b --errors 20%`"
        );
        report.wrong(ALL_FAILED, seen);
    // More traces than failures means that the number is from another run.
    // No message reveals the number found, which would be the answer.
    } else if certain > answered {
        let seen = format!(
            "more than {answered} have failed since the policy was last changed; {START_AGAIN}"
        );
        report.wrong(ALL_FAILED, seen);
    } else if failed.len() < answered {
        let seen = format!(
            "fewer than {answered} have arrived so far; a 4xx response is not an error; if \
             there are no more, {START_AGAIN}"
        );
        report.missing(ALL_FAILED, seen);
    } else if failed.len() > answered {
        let seen = format!(
            "some failed within the second in which the policy was last changed, so \
             {answered} may or may not be right; {START_AGAIN} after a second"
        );
        report.wrong(ALL_FAILED, seen);
    } else {
        report.passed(ALL_FAILED, answered.to_string());
    }
    let count = failed.iter().filter(|it| is_complete(&it.tree)).count();
    // Not after a wrong answer, since the number of traces would reveal the right one.
    if failed.len() == answered {
        let what = "each of them is complete, down to where the error began";
        report.expect(count == answered, what, format!("{count} of {answered}"));
    }
}

/// True unless the error seems to begin in a call whose server's spans are missing.
fn is_complete(tree: &Tree) -> bool {
    let rows = tree.rows();
    let origin = tree.origin_of_errors().and_then(|origin| rows.get(origin));
    let is_call = |row: &Row| row.member.span.kind() == SpanKind::Client;
    let has_callee = tree.services().iter().any(|(name, _)| *name == CALLEE);
    has_callee || origin.is_some_and(|row| !is_call(row))
}

fn is_since(found: &FoundTrace, moment: Timestamp) -> bool {
    i128::from(found.tree.start()) >= moment.as_nanosecond()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::traces::spans::{red, span};

    /// A trace of a request that failed in service-b, complete or with only service-a's spans.
    fn failed(is_complete: bool) -> FoundTrace {
        let mut call = span(SERVICE, "Work", 2, 1, 0, 10);
        call.scope_spans[0].spans[0].kind = SpanKind::Client.into();
        let mut batches = vec![span(SERVICE, "GET /", 1, 0, 0, 10), call];
        if is_complete {
            batches.push(span(CALLEE, "Work", 3, 2, 1, 9));
        }
        FoundTrace {
            id: "07".repeat(16),
            tree: Tree::new(batches.into_iter().map(red).collect()),
        }
    }

    #[rstest::rstest]
    #[case(10, true, Some("10"), true)]
    #[case(9, true, Some("10"), false)]
    #[case(11, true, Some("10"), false)]
    #[case(10, false, Some("10"), false)]
    #[case(2, true, Some("2"), false)]
    #[case(0, true, Some("0"), false)]
    #[case(10, true, None, false)]
    #[case(10, true, Some("all"), false)]
    fn requires_a_complete_trace_per_failure(
        #[case] kept: usize,
        #[case] is_complete: bool,
        #[case] answer: Option<&str>,
        #[case] passes: bool,
    ) {
        let found = vec![failed(is_complete); kept];
        let mut report = Report::default();
        check_traces(
            &mut report,
            &found.iter().collect::<Vec<_>>(),
            BEFORE,
            answer,
        );
        assert_eq!(report.is_passed(), passes, "{report}");
    }

    /// A second before the start of the traces.
    const BEFORE: Timestamp = Timestamp::constant(-1, 0);

    #[test]
    fn failures_of_the_same_second_count() {
        let found = vec![failed(true); 20];
        let found: Vec<&FoundTrace> = found.iter().collect();
        for (answer, passes) in [("12", false), ("20", true), ("21", false)] {
            let mut report = Report::default();
            check_traces(&mut report, &found, Timestamp::UNIX_EPOCH, Some(answer));
            assert_eq!(report.is_passed(), passes, "{report}");
        }
    }

    #[test]
    fn trace_that_fails_in_the_edge_is_complete() {
        let edge = Tree::new(vec![red(span(SERVICE, "GET /", 1, 0, 0, 10))]);
        assert!(is_complete(&edge));
        assert!(
            !is_complete(&failed(false).tree),
            "the server's side is missing"
        );
    }

    #[test]
    fn wrong_number_does_not_reveal_the_right_one() {
        let found = vec![failed(true); 53];
        for answer in ["12", "300"] {
            let mut report = Report::default();
            check_traces(
                &mut report,
                &found.iter().collect::<Vec<_>>(),
                BEFORE,
                Some(answer),
            );
            assert!(!report.to_string().contains("53"), "{report}");
        }
    }

    fn policy(otherwise: &str) -> SamplingPolicy {
        let policy = serde_json::json!({
            "apiVersion": "spoor.dev/v1alpha1",
            "kind": "SamplingPolicy",
            "metadata": {"name": "kept"},
            "spec": {"tail": {"keep": [{"name": "errors", "error": {}}], "otherwise": otherwise}},
        });
        serde_json::from_value(policy).unwrap()
    }

    #[test]
    fn names_the_policy_that_overrides() {
        let slow: SamplingPolicy = serde_json::from_value(serde_json::json!({
            "apiVersion": "spoor.dev/v1alpha1",
            "kind": "SamplingPolicy",
            "metadata": {"name": "slow-only"},
            "spec": {"tail": {"keep": [{"name": "slow", "slowerThan": "400ms"}], "otherwise": "0%"}},
            "status": {"effective": [{"service": SERVICE, "strategy": "tail rules, otherwise 0%"}]},
        }))
        .unwrap();
        let seen = missing_rule_reason(&[policy("0%"), slow.clone()]);
        assert_eq!(
            seen,
            "kept has one, but slow-only is effective there; delete slow-only"
        );
        let elsewhere = missing_rule_reason(&[policy("0%")]);
        assert!(elsewhere.starts_with("kept has one, but does not decide for service-a"));
        assert!(missing_rule_reason(&[slow]).starts_with("slow-only is effective there, without"));
        assert!(missing_rule_reason(&[]).starts_with("no policy with"));
    }

    #[test]
    fn policy_decides_for_all_operations() {
        let effective = |name: &str, operation: Option<&str>| {
            let mut policy = policy("10%");
            name.clone_into(&mut policy.metadata.name);
            let place = serde_json::json!([
                {"service": SERVICE, "operation": operation, "strategy": "tail rules, otherwise 10%"}
            ]);
            let status = serde_json::json!({"effective": place});
            policy.status = Some(serde_json::from_value(status).unwrap());
            policy
        };
        let all = effective("all", None);
        let policies = [effective("part", Some("GET /"))];
        assert!(error_policy(std::slice::from_ref(&all)).is_some());
        assert!(error_policy(&policies).is_none());
        let seen = "part has one, but not for all operations there; see `spoor describe part`";
        assert_eq!(missing_rule_reason(&policies), seen);
        let [part] = policies;
        let policies = [all, part];
        assert!(error_policy(&policies).is_none());
        let seen = "all has one, but part is effective there; delete part";
        assert_eq!(missing_rule_reason(&policies), seen);
    }

    #[rstest::rstest]
    #[case("0%", true)]
    #[case("90%", true)]
    #[case("91%", false)]
    #[case("100%", false)]
    #[case("most", false)]
    fn requires_a_share_below_the_limit(#[case] otherwise: &str, #[case] passes: bool) {
        let mut report = Report::default();
        check_otherwise(&mut report, &policy(otherwise));
        assert_eq!(report.is_passed(), passes, "{report}");
    }
}
