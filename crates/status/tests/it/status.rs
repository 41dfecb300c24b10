use std::collections::BTreeMap;

use insta::assert_yaml_snapshot;
use jiff::Timestamp;
use spoor_api::{
    SamplingPolicyStatus, read,
    status::{Condition, ConditionStatus},
};
use spoor_control::{Control, ControlSettings, Instance, OtherwiseRate, TailCounts, TailDecisions};
use spoor_policy::{
    Namespace, Policy, resolve,
    statistics::{Verdict, interval},
};
use spoor_status::{PolicyFindings, TailRules, invalid};

const NOW: &str = "2026-01-01T12:00:00.75Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

/// A policy with this name and `spec`.
fn policy(name: &str, spec: &str) -> Policy {
    let text = format!(
        "apiVersion: spoor.dev/v1alpha1\nkind: SamplingPolicy\nmetadata: {{name: {name}}}\nspec: {spec}"
    );
    let mut read = read::policies(&text, "test").unwrap();
    read.remove(0)
        .policy
        .validate(Timestamp::UNIX_EPOCH)
        .unwrap()
}

fn expect(control: &Control, service: &str, pods: &[&str]) {
    let instance = |pod: &&str| Instance {
        namespace: Namespace::default(),
        service: service.parse().unwrap(),
        id: (*pod).to_owned(),
    };
    control.set_expected(pods.iter().map(instance).collect());
}

/// The status of the first of these policies, given the state of its tail rules.
fn status(
    control: &Control,
    policies: &[Policy],
    tail: TailRules,
    previous: &[Condition],
) -> SamplingPolicyStatus {
    let policy = &policies[0];
    let resolution = resolve(policies, now());
    control.publish(resolution.clone());
    PolicyFindings {
        policy,
        generation: Some(3),
        outcome: &resolution.outcomes[&policy.key],
        evidence: control.evidence(&policy.key).as_ref(),
        tail,
        decisions: control.tail_counts(&policy.key).as_ref(),
        known: &control.known_services(&policy.key.namespace),
        notes: &[],
        previous,
        now: now(),
    }
    .status()
}

#[test]
fn policy_for_a_service_without_instances() {
    let control = Control::new(ControlSettings::default());
    let policies = [policy(
        "one-percent",
        "{targets: [{service: service-x}], head: {probability: 1%}}",
    )];
    let status = status(&control, &policies, TailRules::NoTracingStack, &[]);
    assert_yaml_snapshot!(status);
}

#[test]
fn misspelled_service_gets_a_suggestion() {
    let control = Control::new(ControlSettings::default());
    expect(&control, "service-a", &["pod-1"]);
    let policies = [policy(
        "one-percent",
        "{targets: [{service: servce-a}], head: {probability: 1%}}",
    )];
    let status = status(&control, &policies, TailRules::NoTracingStack, &[]);
    let converged = &status.conditions[2];
    assert_eq!(
        (converged.status, converged.message.as_str()),
        (
            ConditionStatus::Unknown,
            "no instance exists to apply the policy; no ready instance of servce-a is known; did you mean service-a?"
        )
    );
}

#[test]
fn tail_rules_without_a_collector() {
    let control = Control::new(ControlSettings::default());
    expect(&control, "service-a", &["pod-1", "pod-2"]);
    let spec = "{targets: [{service: service-a}], head: {probability: 100%}, tail: {keep: [{name: errors, error: {}}], otherwise: 10%}}";
    let direct = TailRules::RouteIsDirect("tracing".to_owned());
    let status = status(&control, &[policy("errors", spec)], direct, &[]);
    assert_yaml_snapshot!(status);
}

#[test]
fn tail_rules_alone_need_no_client() {
    let control = Control::new(ControlSettings::default());
    expect(&control, "service-a", &["pod-1"]);
    let spec = "{targets: [{service: service-a}], tail: {keep: [{name: errors, error: {}}], otherwise: 10%}}";
    let policies = [policy("errors", spec)];
    let rolling = TailRules::RollingOut("tracing".to_owned());
    for (tail, expected) in [
        (TailRules::InForce, ConditionStatus::True),
        (rolling, ConditionStatus::False),
    ] {
        let status = status(&control, &policies, tail, &[]);
        let summary = status.summary.unwrap();
        assert_eq!(summary.clients.as_deref(), Some("none needed"));
        assert_eq!(summary.observed, None);
        assert_eq!(status.conditions[2].status, expected);
    }
}

#[test]
fn decisions_of_samplers_are_listed_by_rule() {
    let spec =
        "{tail: {keep: [{name: slow, slowerThan: 1s}, {name: errors, error: {}}], otherwise: 10%}}";
    let policy = policy("errors", spec);
    let resolution = resolve(std::slice::from_ref(&policy), now());
    let counts = TailCounts {
        total: TailDecisions {
            by_rule: BTreeMap::from([("errors".parse().unwrap(), 600)]),
            unmatched: 12_000,
            unmatched_kept: 1_200,
        },
        otherwise: Some(OtherwiseRate {
            rate: 0.1,
            interval: interval(1_200, 12_000, 0.95),
            verdict: Verdict::Consistent,
        }),
    };
    let status = PolicyFindings {
        policy: &policy,
        generation: Some(3),
        outcome: &resolution.outcomes[&policy.key],
        evidence: None,
        tail: TailRules::InForce,
        decisions: Some(&counts),
        known: &Default::default(),
        notes: &[],
        previous: &[],
        now: now(),
    }
    .status();
    let tail = status.tail.unwrap();
    assert_eq!((tail.decided, tail.kept), (12_600, 1_800));
    let by_rule = tail.by_rule.iter();
    let by_rule: Vec<_> = by_rule.map(|it| (it.name.as_str(), it.kept)).collect();
    assert_eq!(by_rule, [("slow", 0), ("errors", 600)]);
    assert_eq!(tail.otherwise.rate.as_deref(), Some("10%"));
    assert_eq!(tail.otherwise.verdict, "Consistent");
    let summary = status.summary.unwrap().tail;
    assert_eq!(
        summary.as_deref(),
        Some("14.3% of 12600, otherwise 10% Consistent")
    );
}

#[test]
fn overridden_policy() {
    let control = Control::new(ControlSettings::default());
    let policies = [
        policy("everything", "{head: {probability: 100%}}"),
        policy(
            "less",
            "{targets: [{service: service-a}], head: {probability: 1%}}",
        ),
    ];
    let status = status(&control, &policies, TailRules::InForce, &[]);
    assert_yaml_snapshot!(status);
}

#[test]
fn expired_policy() {
    let control = Control::new(ControlSettings::default());
    let spec = "{head: {probability: 100%}, expiresAt: \"2026-01-01T11:00:00Z\"}";
    let status = status(
        &control,
        &[policy("override", spec)],
        TailRules::InForce,
        &[],
    );
    assert_yaml_snapshot!(status);
}

#[test]
fn invalid_policy() {
    let reasons = ["spec.head.probability: must be a percentage".to_owned()];
    assert_yaml_snapshot!(invalid(&reasons, Some(1), &[], now()));
}

/// The times must survive a restart of the operator, which only has the stored status.
#[test]
fn keeps_transition_times() {
    let control = Control::new(ControlSettings::default());
    let policies = [policy("one-percent", "{head: {probability: 1%}}")];
    let mut before = status(&control, &policies, TailRules::InForce, &[]).conditions;
    for condition in &mut before {
        condition.last_transition_time = "2025-12-31T00:00:00Z".to_owned();
    }
    expect(&control, "service-a", &["pod-1"]);
    let after = status(&control, &policies, TailRules::InForce, &before);
    let times = after
        .conditions
        .iter()
        .map(|it| it.last_transition_time.as_str());
    assert!(times.eq(["2025-12-31T00:00:00Z"; 3]), "{after:?}");
}
