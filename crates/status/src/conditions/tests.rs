#![allow(clippy::unwrap_used)]

use rstest::rstest;
use spoor_policy::{Effective, PolicyName, Probability, Strategy};

use super::*;

const HEAD: Setting = Setting::Head(Strategy::Probability(Probability::ALWAYS));
const TAIL: Setting = Setting::Tail {
    otherwise: Probability::ALWAYS,
};

fn outcome(acceptance: Acceptance, settings: &[Setting]) -> Outcome {
    let effective = settings.iter().map(|setting| Effective {
        service: None,
        operation: None,
        setting: setting.clone(),
    });
    Outcome {
        acceptance,
        effective: effective.collect(),
        overridden: vec![],
        warnings: vec![],
    }
}

fn evidence(clients: ClientCounts) -> Evidence {
    Evidence {
        clients,
        slowest: None,
        observed: None,
        services: vec![],
        root_services: vec![],
    }
}

fn clients(expected: usize, current: usize, reasons: &[NotCurrentReason]) -> ClientCounts {
    let count = |of: fn(&NotCurrentReason) -> bool| reasons.iter().filter(|it| of(it)).count();
    ClientCounts {
        expected,
        current,
        refused: count(|it| matches!(it, NotCurrentReason::Refused(_))),
        polling: count(|it| matches!(it, NotCurrentReason::Polling)),
        silent: count(|it| matches!(it, NotCurrentReason::Silent)),
        never_asked: count(|it| matches!(it, NotCurrentReason::NeverAsked)),
        not_current: reasons
            .iter()
            .map(|reason| NotCurrent {
                service: "service-a".parse().unwrap(),
                instance: "one".into(),
                reason: reason.clone(),
            })
            .collect(),
    }
}

#[rstest]
#[case(clients(3, 3, &[]), "True Converged: 3 of 3 instances apply the policy")]
#[case(clients(3, 2, &[NotCurrentReason::Pending]), "False Pending: 2 of 3 instances apply the policy; waiting for service-a one")]
#[case(clients(300, 2, &[NotCurrentReason::Pending]), "False Pending: 2 of 300 instances apply the policy; waiting for service-a one and 297 more")]
#[case(clients(3, 2, &[]), "False Pending: 2 of 3 instances apply the policy; waiting for 1 instance")]
#[case(clients(300, 2, &[]), "False Pending: 2 of 300 instances apply the policy; waiting for 298 instances")]
#[case(clients(3, 2, &[NotCurrentReason::Silent]), "Unknown Silent: 2 of 3 instances apply the policy; silent: service-a one")]
#[case(clients(2, 1, &[NotCurrentReason::NeverAsked]), "Unknown NeverAsked: 1 of 2 instances apply the policy; never requested a strategy: service-a one")]
#[case(clients(2, 0, &[NotCurrentReason::Silent, NotCurrentReason::NeverAsked]), "Unknown Silent: 0 of 2 instances apply the policy; silent: service-a one; never requested a strategy: service-a one")]
#[case(clients(1, 0, &[NotCurrentReason::Polling]), "Unknown Polling: 0 of 1 instance applies the policy; only polling: service-a one (Jaeger's protocol has no acknowledgements and does not identify processes; they are counted by address, user agent, connection and interval)")]
#[case(clients(1, 0, &[NotCurrentReason::Refused("no phase".into())]), "False Refused: refused by service-a one (no phase)")]
#[case(clients(0, 0, &[]), "Unknown NoInstances: no instance exists to apply the policy")]
fn converged_only_when_all_acknowledged(#[case] clients: ClientCounts, #[case] expected: &str) {
    let outcome = outcome(Acceptance::Accepted, &[HEAD]);
    let converged = converged(
        &outcome,
        Some(&evidence(clients)),
        &TailRules::NoTracingStack,
    );
    assert_eq!(formatted(&converged), expected);
}

#[test]
fn tail_rules_depend_on_the_collector() {
    let outcome = outcome(Acceptance::Accepted, &[TAIL]);
    let direct = TailRules::RouteIsDirect("main".into());
    for update in [
        programmed(&outcome, None, &direct),
        converged(&outcome, None, &direct),
    ] {
        assert_eq!(
            (update.status, update.reason),
            (ConditionStatus::False, "RouteIsDirect")
        );
        assert!(update.message.contains("\"main\""), "{}", update.message);
    }
    let programmed = programmed(&outcome, None, &TailRules::InForce);
    assert_eq!(
        formatted(&programmed),
        "True Programmed: the tail rules are in force"
    );
    let converged = converged(&outcome, None, &TailRules::InForce);
    assert_eq!(
        formatted(&converged),
        "True Converged: the tail rules are in force"
    );
}

#[test]
fn worse_of_head_and_tail_counts() {
    let outcome = outcome(Acceptance::Accepted, &[HEAD, TAIL]);
    let all_current = evidence(clients(3, 3, &[]));
    let rolling = TailRules::RollingOut("main".into());
    let update = converged(&outcome, Some(&all_current), &rolling);
    assert_eq!(
        (update.status, update.reason),
        (ConditionStatus::False, "RollingOut")
    );
    assert!(
        update
            .message
            .starts_with("3 of 3 instances apply the policy; the Collector of")
    );
    let silent = evidence(clients(3, 2, &[NotCurrentReason::Silent]));
    let update = converged(&outcome, Some(&silent), &TailRules::InForce);
    assert_eq!(update.reason, "Silent");
}

#[test]
fn policy_without_tail_rules_needs_no_stack() {
    let outcome = outcome(Acceptance::Accepted, &[HEAD]);
    let programmed = programmed(&outcome, None, &TailRules::NoTracingStack);
    assert_eq!(
        formatted(&programmed),
        "True Programmed: the head strategy is published"
    );
}

#[test]
fn overridden_policy_names_the_winners() {
    let winners = ["one", "two"].map(|name| PolicyName::new(name).unwrap());
    let partly = Acceptance::PartiallyOverridden(winners.clone().into());
    assert_eq!(
        formatted(&accepted(&outcome(partly, &[HEAD]))),
        "True PartiallyOverridden: overridden in part by one, two"
    );
    let lost = outcome(Acceptance::Conflicted(winners.into()), &[]);
    assert_eq!(
        formatted(&accepted(&lost)),
        "False Conflicted: overridden everywhere by one, two"
    );
    for update in [
        programmed(&lost, None, &TailRules::InForce),
        converged(&lost, None, &TailRules::InForce),
    ] {
        assert_eq!(
            (update.status, update.reason),
            (ConditionStatus::False, "NotAccepted")
        );
    }
}

#[test]
fn truncated_lists_are_mentioned() {
    let many = outcome(Acceptance::Accepted, &[HEAD; 300]);
    assert!(
        accepted(&many)
            .message
            .ends_with("status.effective lists 256 of 300 places")
    );
    assert_eq!(places::effective(&many).len(), 256);
}

#[test]
fn expired_policy_names_the_time() {
    let at = "2026-01-01T00:00:00Z".parse().unwrap();
    let expired = outcome(Acceptance::Expired(at), &[]);
    assert_eq!(
        formatted(&accepted(&expired)),
        "False Expired: expired at 2026-01-01T00:00:00Z"
    );
    assert_eq!(
        warnings(&expired),
        ["has no effect; expired at 2026-01-01T00:00:00Z"]
    );
}

#[test]
fn invalid_policy_lists_its_errors() {
    let reasons = ["spec.head: one".to_owned(), "spec.tail: two".to_owned()];
    let [(_, accepted), (_, programmed), (_, converged)] = invalid(&reasons);
    assert_eq!(
        formatted(&accepted),
        "False Invalid: spec.head: one; spec.tail: two"
    );
    assert_eq!(programmed.status, ConditionStatus::False);
    assert_eq!(converged.status, ConditionStatus::False);
}

fn formatted(update: &ConditionUpdate) -> String {
    let ConditionUpdate {
        status,
        reason,
        message,
    } = update;
    format!("{status:?} {reason}: {message}")
}
