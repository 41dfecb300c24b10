//! Lesson 9: two policies want the same service, and both are to have their part of it.

use spoor_api::status::{Condition, ConditionStatus};

use super::in_force::since;
use crate::{
    lessons::{place::Place, policies::Policy, report::Report},
    traces::Found,
};

const SERVICE: &str = "service-a";
/// The policy that was there first.
const FIRST: &str = "service-a";
const FIRST_SHARE: &str = "1%";
const OPERATION: &str = "GET /";
const ALL: &str = "100%";
/// At the first policy's share it takes two thousand requests for so many.
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
    let is_traced = |found: &&Found| {
        let root = found.tree.root().map(|row| row.member.span.name.as_str());
        root == Some(OPERATION) && i128::from(found.tree.start()) >= converged.as_nanosecond()
    };
    let count = place
        .traces_of(SERVICE)
        .await?
        .iter()
        .filter(is_traced)
        .count();
    let what = format!("{ENOUGH} traces of {OPERATION} since then");
    if count >= ENOUGH {
        report.passed(&what, count.to_string());
    } else {
        report.missing(&what, format!("{count}; send some load"));
    }
    Ok(report)
}

/// Nobody has changed what another team relies on.
fn is_as_it_was(report: &mut Report, first: Option<&Policy>) {
    let what = "the first policy asks for 1% of all of service-a, as before";
    let Some(Policy { spec, .. }) = first else {
        report.missing(
            what,
            "there is no policy service-a: apply k8s/samples/service-a-1-percent.yaml",
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
            "it was changed: apply k8s/samples/service-a-1-percent.yaml again",
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
