//! Lesson 9: two policies for the same service, which must share it.

use jiff::Timestamp;
use spoor_api::{
    SamplingPolicy,
    status::{Condition, ConditionStatus},
};
use spoor_policy::Probability;

use super::in_force::{check_no_tail, targets_only, true_since};
use crate::{
    cli::pluralize,
    lessons::{context::Context, report::Report, threshold::sampled_at},
    traces::{FoundTrace, Part, effective_at},
};

const SERVICE: &str = "service-a";
/// The existing policy.
const FIRST: &str = "service-a";
const FIRST_SHARE: &str = "1%";
const OPERATION: &str = "GET /";
const ALL: &str = "100%";
/// The fewest traces that pass. The lesson sends more, since the first may come before the policy
/// is in force.
const MIN_TRACES: usize = 20;

pub(crate) async fn check(context: &Context) -> anyhow::Result<Report> {
    let mut report = Report::default();
    let policies = context.policies.all().await?;
    let read = pluralize(policies.len(), "policy", "policies");
    report.add_source(format!("{read} and the traces of {SERVICE}"));
    let first = policies.iter().find(|it| it.metadata.name == FIRST);
    check_no_tail(&mut report, &policies, SERVICE);
    check_unchanged(&mut report, first);
    if let Some(first) = first {
        check_still_decides(&mut report, first);
    }
    let Some(second) = check_second(&mut report, &policies) else {
        return Ok(report);
    };
    let what = "it is in force in every instance";
    let Some(converged) = true_since(second, Condition::CONVERGED) else {
        return Ok(report.with_missing(what, "not yet"));
    };
    report.passed(what, "");
    check_traces(&mut report, &context.traces_of(SERVICE).await?, converged);
    Ok(report)
}

/// Counts only traces that were sampled at 100 %, since the first policy keeps some traces too.
fn check_traces(report: &mut Report, found: &[FoundTrace], converged: Timestamp) {
    let is_traced = |found: &&FoundTrace| {
        let root = found.tree.root().map(|row| row.member.span.name.as_str());
        root == Some(OPERATION)
            && i128::from(found.tree.start()) >= converged.as_nanosecond()
            // The threshold in `tracestate` shows by which policy a trace was sampled.
            && sampled_at(&found.tree, Probability::ALWAYS)
    };
    let count = found.iter().filter(is_traced).count();
    let what = format!("{MIN_TRACES} traces of {OPERATION} since then, sampled at {ALL}");
    if count >= MIN_TRACES {
        report.passed(&what, count.to_string());
    } else {
        report.missing(&what, format!("{count} so far; send some load"));
    }
}

/// Checks that the existing policy, on which another team relies, was not changed.
fn check_unchanged(report: &mut Report, first: Option<&SamplingPolicy>) {
    let what = "the first policy still samples 1% of all of service-a";
    let Some(SamplingPolicy { spec, .. }) = first else {
        let seen =
            "there is no policy service-a; apply k8s/samples/policies/service-a-1-percent.yaml";
        report.missing(what, seen);
        return;
    };
    let head = spec.head.as_ref();
    let share = head.and_then(|head| head.probability.as_deref());
    let has_defaults = spec.priority == 0 && spec.expires_at.is_none();
    if share == Some(FIRST_SHARE) && has_defaults && targets_only(&spec.targets, SERVICE, &[]) {
        report.passed(what, "");
    } else {
        let seen = "it was changed; apply k8s/samples/policies/service-a-1-percent.yaml again";
        report.wrong(what, seen);
    }
}

fn check_still_decides(report: &mut Report, first: &SamplingPolicy) {
    let what = "the first policy still decides for the rest";
    let accepted = first.condition(Condition::ACCEPTED);
    let seen = accepted.map(|it| format!("{}: {}", it.reason, it.message));
    let seen = seen.unwrap_or_default();
    match accepted.map(|accepted| accepted.status) {
        Some(ConditionStatus::True) => report.passed(what, seen),
        Some(ConditionStatus::False) => {
            report.wrong(what, format!("it is no longer effective anywhere ({seen})"));
        }
        Some(ConditionStatus::Unknown) | None => report.missing(what, seen),
    }
}

/// Checks that another policy decides at 100% for the operation, that it has no other targets, and
/// that no policy but the first decides for other operations.
fn check_second<'a>(
    report: &mut Report,
    policies: &'a [SamplingPolicy],
) -> Option<&'a SamplingPolicy> {
    let what = "another policy is effective for GET / only, with 100%";
    // Found by their effect, since the lesson lets the learner choose the name.
    let (matching, others): (Vec<_>, Vec<_>) = effective_at(policies, SERVICE, Part::Head)
        .into_iter()
        .filter(|(policy, _)| policy.metadata.name != FIRST)
        .partition(|(_, entry)| entry.operation.as_deref() == Some(OPERATION));
    match (matching.first(), others.first()) {
        // `matching` and `others` have neither its other services nor its overridden places.
        (Some((policy, _)), None) if !targets_only(&policy.spec.targets, SERVICE, &[OPERATION]) => {
            let name = &policy.metadata.name;
            let seen = format!("{name} targets others, too; leave only {OPERATION} of {SERVICE}");
            report.wrong(what, seen);
        }
        (Some((policy, entry)), None) if entry.strategy == ALL => {
            report.passed(what, &policy.metadata.name);
            return Some(policy);
        }
        (_, Some((policy, entry))) => {
            let scope = entry.operation.as_deref().unwrap_or("all operations");
            let also = match matching.is_empty() {
                true => format!(", and no other policy for {OPERATION} alone"),
                false => ", too".to_owned(),
            };
            let seen = format!("{} is effective for {scope}{also}", policy.metadata.name);
            report.wrong(what, seen);
        }
        (Some((policy, entry)), None) => {
            let (name, strategy) = (&policy.metadata.name, &entry.strategy);
            report.wrong(what, format!("{name} is effective there, with {strategy}"));
        }
        (None, None) => report.missing(
            what,
            "no policy lists it under `Effective` in `spoor describe`",
        ),
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;
    use spoor_traces::tree::Tree;

    use super::*;
    use crate::traces::spans::span;

    fn trace(name: &str, start: u64, trace_state: &str) -> FoundTrace {
        let mut batch = span(SERVICE, name, 1, 0, start, start + 5);
        batch.scope_spans[0].spans[0].trace_state = trace_state.to_owned();
        FoundTrace {
            id: "07".repeat(16),
            tree: Tree::new(vec![batch]),
        }
    }

    #[rstest::rstest]
    #[case(OPERATION, 2_000, "ot=th:0", MIN_TRACES, true)]
    #[case(OPERATION, 2_000, "ot=th:0", MIN_TRACES - 1, false)]
    #[case(OPERATION, 1_999, "ot=th:0", MIN_TRACES, false)]
    #[case(OPERATION, 2_000, "ot=th:fd70a", MIN_TRACES, false)]
    #[case("POST /", 2_000, "ot=th:0", MIN_TRACES, false)]
    fn only_traces_of_the_new_policy_count(
        #[case] name: &str,
        #[case] start: u64,
        #[case] trace_state: &str,
        #[case] count: usize,
        #[case] passes: bool,
    ) {
        let found = vec![trace(name, start, trace_state); count];
        let mut report = Report::default();
        check_traces(&mut report, &found, Timestamp::from_second(2).unwrap());
        assert_eq!(report.is_passed(), passes, "{report}");
    }

    #[rstest::rstest]
    #[case(&[("GET /", "100%")], true, "two")]
    #[case(&[("GET /", "50%")], false, "two is effective there, with 50%")]
    #[case(&[("GET /", "100%"), ("GET /x", "100%")], false, "two is effective for GET /x, too")]
    #[case(&[("/", "100%")], false, "two is effective for /, and no other policy for GET / alone")]
    #[case(&[], false, "no policy lists it")]
    fn second_policy_has_one_operation(
        #[case] places: &[(&str, &str)],
        #[case] passes: bool,
        #[case] seen: &str,
    ) {
        let place = |(operation, strategy): &(&str, &str)| json!({"service": SERVICE, "operation": operation, "strategy": strategy});
        let effective: Vec<_> = places.iter().map(place).collect();
        let policy = json!({
            "apiVersion": "spoor.dev/v1alpha1",
            "kind": "SamplingPolicy",
            "metadata": {"name": "two"},
            "spec": {"targets": [{"service": SERVICE, "operations": [OPERATION]}]},
            "status": {"effective": effective},
        });
        let mut report = Report::default();
        let policies = [serde_json::from_value(policy).unwrap()];
        assert_eq!(check_second(&mut report, &policies).is_some(), passes);
        assert_eq!(report.is_passed(), passes, "{report}");
        assert!(report.to_string().contains(seen), "{report}");
    }

    #[rstest::rstest]
    #[case(json!([{"service": SERVICE, "operations": ["GET /"]}]), true)]
    #[case(json!([{"service": SERVICE, "operations": ["GET /"]}, {"service": "tasks"}]), false)]
    #[case(json!([{"service": SERVICE, "operations": ["GET /", "GET /x"]}]), false)]
    fn second_policy_has_no_other_target(#[case] targets: serde_json::Value, #[case] passes: bool) {
        let policy = json!({
            "apiVersion": "spoor.dev/v1alpha1",
            "kind": "SamplingPolicy",
            "metadata": {"name": "two"},
            "spec": {"targets": targets},
            "status": {
                "effective": [{"service": SERVICE, "operation": OPERATION, "strategy": ALL}],
            },
        });
        let mut report = Report::default();
        let policies = [serde_json::from_value(policy).unwrap()];
        assert_eq!(check_second(&mut report, &policies).is_some(), passes);
        let seen = "two targets others, too; leave only GET / of service-a";
        assert_eq!(report.to_string().contains(seen), !passes, "{report}");
    }

    #[rstest::rstest]
    #[case(json!({"targets": [{"service": "service-a"}], "head": {"probability": "1%"}}), true)]
    #[case(json!({"targets": [{"service": "service-a"}], "head": {"probability": "2%"}}), false)]
    #[case(json!({"targets": [{"service": "service-a", "operations": ["POST /"]}],
                  "head": {"probability": "1%"}}), false)]
    #[case(json!({"targets": [{"service": "service-a"}, {"service": "tasks"}],
                  "head": {"probability": "1%"}}), false)]
    #[case(json!({"targets": [{"service": "service-a"}], "expiresAt": "2100-01-01T00:00:00Z",
                  "head": {"probability": "1%"}}), false)]
    #[case(json!({"head": {"probability": "1%"}}), false)]
    #[case(json!({"targets": [{"service": "service-a"}], "priority": 3,
                  "head": {"probability": "1%"}}), false)]
    fn rejects_a_changed_first_policy(#[case] spec: serde_json::Value, #[case] passes: bool) {
        let first = json!({
            "apiVersion": "spoor.dev/v1alpha1",
            "kind": "SamplingPolicy",
            "metadata": {"name": FIRST},
            "spec": spec,
        });
        let first: SamplingPolicy = serde_json::from_value(first).unwrap();
        let mut report = Report::default();
        check_unchanged(&mut report, Some(&first));
        assert_eq!(report.is_passed(), passes, "{report}");
    }
}
