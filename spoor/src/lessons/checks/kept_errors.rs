//! Lesson 8: every trace with an error is kept, and of the others a share.

use jiff::Timestamp;
use spoor_api::status::{Condition, Effective};
use spoor_policy::Probability;

use super::in_force::{is_of_service, since};
use crate::{
    lessons::{place::Place, policies::Policy, report::Report},
    traces::Found,
};

const SERVICE: &str = "service-a";
/// What every error passes through before it comes to an answer.
const BELOW: &str = "service-b";
const KEPT: &str = "a tail rule that keeps the errors of service-a";
const ALL: &str = "a trace for each request that failed";

pub(crate) async fn check(place: &Place) -> anyhow::Result<Report> {
    let mut report = Report::new();
    let policies = place.policies.all().await?;
    report.looked_at(format!(
        "{} policies and the traces of {SERVICE}",
        policies.len()
    ));
    head_lets_through(&mut report, &policies);
    let keeping = policies.iter().find(|policy| keeps_errors(policy));
    let Some(keeping) = keeping else {
        let seen = "no policy with `tail.keep: [{name: errors, error: {}}]` decides there";
        report.missing(KEPT, seen);
        return Ok(report);
    };
    report.passed(KEPT, &keeping.metadata.name);
    thins_the_rest(&mut report, keeping);
    match since(keeping, Condition::PROGRAMMED) {
        Some(programmed) => {
            let found = place.traces_of(SERVICE).await?;
            let started = |found: &&Found| is_since(found, programmed);
            let found: Vec<&Found> = found.iter().filter(started).collect();
            of_traces(&mut report, &found, place.answers.named("failed"));
        }
        None => report.missing("the policy is programmed", "not yet"),
    }
    Ok(report)
}

/// What a head has not recorded is not there for any rule to keep.
fn head_lets_through(report: &mut Report, policies: &[Policy]) {
    let what = "every trace of service-a is recorded at its start";
    let less = heads_at_service(policies)
        .into_iter()
        .find(|(_, entry)| entry.strategy != "100%");
    match less {
        Some((name, entry)) => report.wrong(
            what,
            format!(
                "policy {name} keeps {} there: a failed request that it has not recorded is lost, whatever the tail says",
                entry.strategy
            ),
        ),
        None => report.passed(what, ""),
    }
}

/// What heads say about the service, and whose they are. What names it comes before what is for
/// all services.
fn heads_at_service(policies: &[Policy]) -> Vec<(&str, &Effective)> {
    let heads = policies.iter().flat_map(|policy| {
        let effective = policy.status.iter().flat_map(|status| &status.effective);
        let heads = effective.filter(|entry| !entry.strategy.starts_with("tail"));
        heads.map(move |entry| (policy.metadata.name.as_str(), entry))
    });
    let (named, others): (Vec<_>, Vec<_>) = heads
        .filter(|(_, entry)| is_of_service(entry, SERVICE))
        .partition(|(_, entry)| entry.service.is_some());
    if named.is_empty() { others } else { named }
}

fn keeps_errors(policy: &Policy) -> bool {
    let tail = policy.spec.tail.iter();
    let has_rule = tail
        .flat_map(|tail| &tail.keep)
        .any(|rule| rule.error.is_some());
    let effective = policy.status.iter().flat_map(|status| &status.effective);
    let mut tails = effective.filter(|entry| entry.strategy.contains("tail"));
    has_rule && tails.any(|entry| is_of_service(entry, SERVICE))
}

fn thins_the_rest(report: &mut Report, keeping: &Policy) {
    let otherwise = keeping
        .spec
        .tail
        .as_ref()
        .map(|tail| tail.otherwise.as_str());
    let share = otherwise.and_then(|share| share.parse::<Probability>().ok());
    let seen = otherwise.map(|share| format!("otherwise: {share}"));
    let what = "of the traces without an error a share is kept";
    if share.is_some_and(|share| share != Probability::ALWAYS) {
        report.passed(what, seen.unwrap_or_default());
    } else {
        report.wrong(
            what,
            "all of them are: then there is nothing that the rule could add",
        );
    }
}

fn of_traces(report: &mut Report, found: &[&Found], answer: Option<&str>) {
    let failed: Vec<&&Found> = found.iter().filter(|it| it.tree.errors() > 0).collect();
    let told = answer.and_then(|answer| answer.parse::<usize>().ok());
    let Some(told) = told else {
        let seen = "say how many did since the policy was applied: --answer failed=N, as `spoor load` printed it";
        report.missing(ALL, seen);
        return;
    };
    let seen = format!("{} of {told}", failed.len());
    if told == 0 {
        report.wrong(
            ALL,
            "none failed: `spoor fault service-b --errors 20%` makes some",
        );
    } else if failed.len() > told {
        let seen = format!("{seen}: more than you say have failed since the policy was applied");
        report.wrong(ALL, seen);
    } else {
        report.expect(failed.len() == told, ALL, seen);
    }
    let whole = |it: &&&&Found| it.tree.services().iter().any(|(name, _)| *name == BELOW);
    let count = failed.iter().filter(whole).count();
    report.expect(
        count == failed.len(),
        "each of them whole, down to service-b",
        format!("{count} of {}", failed.len()),
    );
}

fn is_since(found: &Found, moment: Timestamp) -> bool {
    i128::from(found.tree.start()) >= moment.as_nanosecond()
}
