//! Lesson 9: two policies want the same service, and both are to have their part of it.

use jiff::Timestamp;
use spoor_api::status::{Condition, ConditionStatus};
use spoor_policy::Probability;

use super::in_force::since;
use crate::{
    lessons::{place::Place, policies::Policy, report::Report, threshold::sampled_at},
    traces::Found,
};

const SERVICE: &str = "service-a";
/// The policy that was there first.
const FIRST: &str = "service-a";
const FIRST_SHARE: &str = "1%";
const OPERATION: &str = "GET /";
const ALL: &str = "100%";
/// Fewer than the lesson has the learner send: those of the first moment may not count.
const ENOUGH: usize = 20;

pub(crate) async fn check(place: &Place) -> anyhow::Result<Report> {
    let mut report = Report::new();
    let policies = place.policies.all().await?;
    report.looked_at(format!(
        "{} policies and the traces of {SERVICE}",
        policies.len()
    ));
    let first = policies.iter().find(|it| it.metadata.name == FIRST);
    let second = policies.iter().find(|policy| decides_operation(policy));
    is_as_it_was(&mut report, first);
    if let Some(first) = first {
        still_decides(&mut report, first);
    }
    let what = "another policy decides about GET / alone, with 100%";
    let Some(second) = second else {
        report.missing(
            what,
            "none has it among what `spoor describe` calls effective",
        );
        return Ok(report);
    };
    report.passed(what, &second.metadata.name);
    let what = "every instance has taken it";
    let Some(converged) = since(second, Condition::CONVERGED) else {
        report.missing(what, "not yet");
        return Ok(report);
    };
    report.passed(what, "");
    of_traces(&mut report, &place.traces_of(SERVICE).await?, converged);
    Ok(report)
}

/// Only traces that were sampled at 100 % count: the first policy keeps some of many, too.
fn of_traces(report: &mut Report, found: &[Found], converged: Timestamp) {
    let is_traced = |found: &&Found| {
        let root = found.tree.root().map(|row| row.member.span.name.as_str());
        root == Some(OPERATION)
            && i128::from(found.tree.start()) >= converged.as_nanosecond()
            && sampled_at(&found.tree, Probability::ALWAYS)
    };
    let count = found.iter().filter(is_traced).count();
    let what = format!("{ENOUGH} traces of {OPERATION} since then, sampled at {ALL}");
    if count >= ENOUGH {
        report.passed(&what, count.to_string());
    } else {
        report.missing(&what, format!("{count}; send some load"));
    }
}

/// Nobody has changed what another team relies on.
fn is_as_it_was(report: &mut Report, first: Option<&Policy>) {
    let what = "the first policy asks for 1% of all of service-a, as before";
    let Some(Policy { spec, .. }) = first else {
        report.missing(
            what,
            "there is no policy service-a: apply k8s/samples/policies/service-a-1-percent.yaml",
        );
        return;
    };
    let share = spec
        .head
        .as_ref()
        .and_then(|head| head.probability.as_deref());
    let whole_service = match spec.targets.as_slice() {
        [only] => only.service == SERVICE && only.operations.is_empty(),
        _ => false,
    };
    if share == Some(FIRST_SHARE) && whole_service && spec.priority == 0 {
        report.passed(what, "");
    } else {
        report.wrong(
            what,
            "it was changed: apply k8s/samples/policies/service-a-1-percent.yaml again",
        );
    }
}

fn still_decides(report: &mut Report, first: &Policy) {
    let what = "the first policy still decides about the rest";
    let mut conditions = first.status.iter().flat_map(|status| &status.conditions);
    let accepted = conditions.find(|it| it.kind == Condition::ACCEPTED);
    let seen = accepted.map(|it| format!("{}: {}", it.reason, it.message));
    let seen = seen.unwrap_or_default();
    match accepted.map(|accepted| accepted.status) {
        Some(ConditionStatus::True) => report.passed(what, seen),
        Some(ConditionStatus::False) => {
            report.wrong(what, format!("nothing is left of it ({seen})"));
        }
        Some(ConditionStatus::Unknown) | None => report.missing(what, seen),
    }
}

fn decides_operation(policy: &Policy) -> bool {
    let mut effective = policy.status.iter().flat_map(|status| &status.effective);
    policy.metadata.name != FIRST
        && effective.any(|entry| {
            entry.service.as_deref() == Some(SERVICE)
                && entry.operation.as_deref() == Some(OPERATION)
                && entry.strategy == ALL
        })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;
    use spoor_traces::tree::Tree;

    use super::*;
    use crate::traces::spans::span;

    fn trace(name: &str, start: u64, trace_state: &str) -> Found {
        let mut batch = span(SERVICE, name, 1, 0, start, start + 5);
        batch.scope_spans[0].spans[0].trace_state = trace_state.to_owned();
        Found {
            id: "07".repeat(16),
            tree: Tree::new(vec![batch]),
        }
    }

    #[rstest::rstest]
    #[case(OPERATION, 2_000, "ot=th:0", ENOUGH, true)]
    #[case(OPERATION, 2_000, "ot=th:0", ENOUGH - 1, false)]
    #[case(OPERATION, 1_999, "ot=th:0", ENOUGH, false)]
    #[case(OPERATION, 2_000, "ot=th:fd70a", ENOUGH, false)]
    #[case("POST /", 2_000, "ot=th:0", ENOUGH, false)]
    fn only_traces_of_the_new_policy_count(
        #[case] name: &str,
        #[case] start: u64,
        #[case] trace_state: &str,
        #[case] count: usize,
        #[case] passes: bool,
    ) {
        let found = vec![trace(name, start, trace_state); count];
        let mut report = Report::new();
        of_traces(&mut report, &found, Timestamp::from_second(2).unwrap());
        assert_eq!(report.is_passed(), passes, "{report}");
    }

    #[rstest::rstest]
    #[case(json!({"targets": [{"service": "service-a"}], "head": {"probability": "1%"}}), true)]
    #[case(json!({"targets": [{"service": "service-a"}], "head": {"probability": "2%"}}), false)]
    #[case(json!({"targets": [{"service": "service-a", "operations": ["POST /"]}],
                  "head": {"probability": "1%"}}), false)]
    #[case(json!({"head": {"probability": "1%"}}), false)]
    #[case(json!({"targets": [{"service": "service-a"}], "priority": 3,
                  "head": {"probability": "1%"}}), false)]
    fn a_changed_first_policy_is_refused(#[case] spec: serde_json::Value, #[case] passes: bool) {
        let first = json!({"metadata": {"name": FIRST}, "spec": spec});
        let first: Policy = serde_json::from_value(first).unwrap();
        let mut report = Report::new();
        is_as_it_was(&mut report, Some(&first));
        assert_eq!(report.is_passed(), passes, "{report}");
    }
}
