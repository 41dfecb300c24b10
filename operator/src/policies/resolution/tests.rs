#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use jiff::ToSpan;
use kube::core::DynamicObject;
use rstest::rstest;
use serde_json::{Value, json};
use spoor_control::SamplerState;

use super::*;
use crate::policies::{
    objects::{self, StackState},
    pods::{self, Pod},
};

const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

fn found(name: &str, spec: Value) -> Arc<PolicyObject> {
    let metadata = json!({
        "name": name, "namespace": "shop", "uid": name, "generation": 1, "resourceVersion": "1",
        "creationTimestamp": "2026-01-01T00:00:00Z",
    });
    let object = json!({"metadata": metadata, "spec": spec});
    Arc::new(objects::parse_policy(serde_json::from_value(object).unwrap()).unwrap())
}

fn pod(name: &str, labels: Value, ready: &str) -> Arc<Pod> {
    owned_pod(name, labels, json!([]), ready)
}

fn owned_pod(name: &str, labels: Value, owners: Value, ready: &str) -> Arc<Pod> {
    let metadata = json!({
        "name": name, "namespace": "shop", "uid": name, "labels": labels, "ownerReferences": owners,
    });
    let status = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]});
    let sent = json!({"metadata": metadata, "spec": {}, "status": status});
    Arc::new(pods::parse(serde_json::from_value(sent).unwrap()).unwrap())
}

fn stack(spec: Value, status: Value) -> Arc<StackState> {
    let metadata = json!({"name": "tracing", "namespace": "shop"});
    let object = json!({"metadata": metadata, "spec": spec, "status": status});
    let object: DynamicObject = serde_json::from_value(object).unwrap();
    Arc::new(objects::parse_stack(object).unwrap())
}

fn head(service: &str, probability: &str) -> Value {
    json!({"targets": [{"service": service}], "head": {"probability": probability}})
}

fn tail() -> Value {
    json!({"targets": [{"service": "a"}], "tail": {"keep": [{"name": "errors", "error": {}}], "otherwise": "10%"}})
}

fn snapshot(policies: Vec<Arc<PolicyObject>>, pods: Vec<Arc<Pod>>) -> SourcesSnapshot {
    SourcesSnapshot {
        policies,
        pods,
        stacks: vec![],
    }
}

fn expected(snapshot: &SourcesSnapshot, connected: &[&str]) -> Vec<String> {
    let connected = connected.iter().map(|service| {
        (
            Namespace::new("shop").unwrap(),
            ServiceName::new(service).unwrap(),
        )
    });
    let inputs = ResolutionInputs::of(snapshot, &connected.collect());
    inputs.instances.into_iter().map(|it| it.id).collect()
}

fn resolved(snapshot: &SourcesSnapshot) -> ResolvedPolicies {
    let inputs = ResolutionInputs::of(snapshot, &BTreeSet::new());
    ResolvedPolicies::new(inputs, snapshot, NOW)
}

fn status(built: &ResolvedPolicies, found: &PolicyObject) -> SamplingPolicyStatus {
    built
        .status(found, |_| PolicyEvidence::default(), &[], NOW)
        .unwrap()
}

#[test]
fn expects_ready_pods_of_relevant_services() {
    let labelled = |name, ready| pod(name, json!({"spoor.dev/service": "a"}), ready);
    let named = |name| pod(name, json!({"app.kubernetes.io/name": "b"}), "True");
    let other = pod("other", json!({"app": "a"}), "True");
    let pods = vec![
        labelled("a-0", "True"),
        labelled("a-1", "False"),
        named("b-0"),
        other,
    ];
    let for_all = || found("for-all", json!({"head": {"probability": "1%"}}));
    let without = snapshot(vec![for_all()], pods.clone());
    assert_eq!(expected(&without, &[]), ["a-0"]);
    assert_eq!(expected(&without, &["b"]), ["a-0", "b-0"]);
    let targeted = snapshot(vec![for_all(), found("b", head("b", "1%"))], pods);
    assert_eq!(expected(&targeted, &[]), ["a-0", "b-0"]);
}

#[test]
fn invalid_policy_does_not_affect_others() {
    let (invalid, valid) = (
        found("invalid", head("a", "1")),
        found("valid", head("a", "2%")),
    );
    let snapshot = snapshot(vec![invalid.clone(), valid.clone()], vec![]);
    let built = resolved(&snapshot);
    assert_eq!(built.resolution.outcomes.len(), 1);
    insta::assert_yaml_snapshot!("invalid", status(&built, &invalid));
    insta::assert_yaml_snapshot!("valid", status(&built, &valid));
}

#[test]
fn resolution_is_current_until_change_or_expiry() {
    let end = NOW + 60.seconds();
    let mut spec = head("a", "1%");
    spec["expiresAt"] = end.to_string().into();
    let snapshot = snapshot(vec![found("brief", spec)], vec![]);
    let inputs = ResolutionInputs::of(&snapshot, &BTreeSet::new());
    let built = ResolvedPolicies::new(inputs.clone(), &snapshot, NOW);
    assert!(built.is_current_for(&inputs, NOW + 59.seconds()));
    assert!(!built.is_current_for(&inputs, end));
    assert!(!built.is_current_for(&ResolutionInputs::default(), NOW));
}

#[test]
fn status_fits_the_api_servers_limits() {
    let operations: Vec<String> = (0..64).map(|number| format!("GET /{number}")).collect();
    let targets =
        (0..5).map(|number| json!({"service": format!("s{number}"), "operations": operations}));
    let targets: Vec<Value> = targets.collect();
    let found = found(
        "wide",
        json!({"targets": targets, "head": {"probability": "1%"}}),
    );
    let snapshot = snapshot(vec![found.clone()], vec![]);
    let built = resolved(&snapshot);
    let status = status(&built, &found);
    assert_eq!(status.effective.len(), 256);
    let accepted = &status.conditions[0].message;
    assert!(
        accepted.ends_with("status.effective lists 256 of 320 places"),
        "{accepted}"
    );
}

#[rstest]
#[case::no_stack(&[], "NoTracingStack")]
#[case::direct(&[(json!({"route": "Direct"}), json!({"route": "Direct"}))], "RouteIsDirect")]
#[case::another_collector(&[(json!({"collector": {"existing": {"otlp": "a:1"}}}), json!({"route": "Collector"}))], "CollectorNotManaged")]
#[case::sampler_of_another_collector(&[(json!({"collector": {"existing": {"otlp": "a:1", "kept": "a:2"}}}), json!({"route": "Collector"}))], "RollingOut")]
#[case::new_stack(&[(json!({}), Value::Null)], "RollingOut")]
#[case::older_rules(&[(json!({}), json!({"route": "Collector", "tail": {"digest": "0"}}))], "RollingOut")]
#[case::still_direct(&[(json!({}), json!({"route": "Direct", "tail": {"digest": DIGEST}}))], "RollingOut")]
#[case::in_force(&[(json!({}), json!({"route": "Collector", "tail": {"digest": DIGEST}}))], "Programmed")]
#[case::one_of_two(&[
    (json!({}), json!({"route": "Collector", "tail": {"digest": DIGEST}})),
    (json!({"route": "Direct"}), json!({"route": "Direct"})),
], "RouteIsDirect")]
fn tail_rules_need_every_stack(#[case] stacks: &[(Value, Value)], #[case] expected: &str) {
    let found = found("rules", tail());
    let mut snapshot = snapshot(vec![found.clone()], vec![]);
    let built = resolved(&snapshot);
    let digest = built
        .resolution
        .tail
        .digest(&Namespace::new("shop").unwrap());
    let with_digest = |status: &Value| status.to_string().replace(DIGEST, &digest.to_string());
    let stacks = stacks.iter().map(|(spec, status)| {
        let status = serde_json::from_str(&with_digest(status)).unwrap();
        stack(spec.clone(), status)
    });
    snapshot.stacks = stacks.collect();
    let built = built.with_stacks(&snapshot).unwrap_or(built);
    let status = status(&built, &found);
    assert_eq!(programmed(&status).reason, expected);
}

fn programmed(status: &SamplingPolicyStatus) -> &Condition {
    let mut conditions = status.conditions.iter();
    let programmed = conditions.find(|it| it.kind == Condition::PROGRAMMED);
    programmed.unwrap()
}

/// The samplers of the stack `tracing`.
const FIRST: &str = "tracing-sampler-0";
const SECOND: &str = "tracing-sampler-1";

/// A pod of a stack's sampler, Ready or not.
fn sampler_pod(name: &str, stack: &str, ready: &str) -> Arc<Pod> {
    let labels = json!({
        "app.kubernetes.io/name": "sampler",
        "app.kubernetes.io/managed-by": "spoor-operator",
        "app.kubernetes.io/instance": stack,
    });
    let owners = json!([{
        "apiVersion": "apps/v1", "kind": "StatefulSet", "name": format!("{stack}-sampler"),
        "uid": stack, "controller": true,
    }]);
    owned_pod(name, labels, owners, ready)
}

/// A sampler with an open stream.
fn sampler(name: &str, current: bool) -> SamplerState {
    SamplerState {
        stack: "tracing".to_owned(),
        instance: name.to_owned(),
        connected: true,
        held: None,
        current,
        refused: None,
        refuses_current: false,
    }
}

#[rstest]
#[case::all_current(&[(FIRST, "True")], &[(FIRST, true)], "Programmed", "in force")]
#[case::one_is_not(
    &[(FIRST, "True"), (SECOND, "True")],
    &[(FIRST, true), (SECOND, false)],
    "Pending",
    "1 of 2 samplers apply the tail rules; waiting for tracing-sampler-1"
)]
#[case::one_never_connected(
    &[(FIRST, "True"), (SECOND, "True")],
    &[(FIRST, true)],
    "Disconnected",
    "not connected: tracing-sampler-1"
)]
#[case::only_ready_ones_count(
    &[(FIRST, "True"), (SECOND, "False")],
    &[(FIRST, true), (SECOND, false)],
    "Programmed",
    "in force"
)]
#[case::none_is_ready(&[(FIRST, "False")], &[], "NoSamplerReady", "\"tracing\"")]
fn tail_rules_need_every_sampler(
    #[case] pods: &[(&str, &str)],
    #[case] samplers: &[(&str, bool)],
    #[case] reason: &str,
    #[case] message: &str,
) {
    let found = found("rules", tail());
    let pods = pods.iter();
    let pods = pods.map(|(name, ready)| sampler_pod(name, "tracing", ready));
    let mut snapshot = snapshot(vec![found.clone()], pods.collect());
    snapshot.stacks = vec![stack(json!({}), json!({"route": "Collector"}))];
    let samplers = samplers.iter();
    let evidence = PolicyEvidence {
        samplers: samplers.map(|(name, is)| sampler(name, *is)).collect(),
        ..PolicyEvidence::default()
    };
    let built = resolved(&snapshot);
    let status = built.status(&found, |_| evidence, &[], NOW).unwrap();
    let programmed = programmed(&status);
    assert_eq!(programmed.reason, reason);
    assert!(
        programmed.message.contains(message),
        "{}",
        programmed.message
    );
}

/// When a stack no longer has samplers, the former ones stay until they have sent everything.
#[rstest]
#[case::has_a_sampler(json!({"otlp": "a:1", "kept": "a:2"}), "Programmed")]
#[case::has_none(json!({"otlp": "a:1"}), "CollectorNotManaged")]
fn sampler_decides_behind_an_existing_collector(#[case] existing: Value, #[case] expected: &str) {
    let found = found("rules", tail());
    let pods = vec![sampler_pod(FIRST, "tracing", "True")];
    let mut snapshot = snapshot(vec![found.clone()], pods);
    let spec = json!({"collector": {"existing": existing}});
    snapshot.stacks = vec![stack(spec, json!({"route": "Collector"}))];
    let evidence = PolicyEvidence {
        samplers: vec![sampler(FIRST, true)],
        ..PolicyEvidence::default()
    };
    let built = resolved(&snapshot);
    let status = built.status(&found, |_| evidence, &[], NOW).unwrap();
    assert_eq!(programmed(&status).reason, expected);
}

#[rstest]
#[case::of_another_stack("other", json!({}), "Collector")]
#[case::of_the_former_engine("tracing", json!({"sampler": {"engine": "OpenTelemetry"}}), "Collector")]
#[case::without_traffic("tracing", json!({}), "Direct")]
fn samplers_that_do_not_decide_are_ignored(
    #[case] of_stack: &str,
    #[case] spec: Value,
    #[case] route: &str,
) {
    let found = found("rules", tail());
    let name = format!("{of_stack}-sampler-0");
    let pods = vec![sampler_pod(&name, of_stack, "True")];
    let mut snapshot = snapshot(vec![found.clone()], pods);
    snapshot.stacks = vec![stack(spec, json!({"route": route}))];
    let evidence = PolicyEvidence {
        samplers: vec![sampler(&name, true)],
        ..PolicyEvidence::default()
    };
    let built = resolved(&snapshot);
    let status = built.status(&found, |_| evidence, &[], NOW).unwrap();
    assert_eq!(programmed(&status).reason, "RollingOut");
}

#[rstest]
#[case::from_the_tiers(json!({}), "0", "ChangingEngine")]
#[case::to_the_tiers(json!({"sampler": {"engine": "OpenTelemetry"}}), "0", "ChangingEngine")]
#[case::tiers_have_the_rules(json!({"sampler": {"engine": "OpenTelemetry"}}), DIGEST, "Programmed")]
fn samplers_have_no_rules_while_the_engine_changes(
    #[case] spec: Value,
    #[case] digest: &str,
    #[case] expected: &str,
) {
    let found = found("rules", tail());
    let pods = vec![sampler_pod(FIRST, "tracing", "True")];
    let mut snapshot = snapshot(vec![found.clone()], pods);
    let without_tiers = json!({"route": "Collector"});
    snapshot.stacks = vec![stack(spec.clone(), without_tiers.clone())];
    let built = resolved(&snapshot);
    assert_eq!(built.served(), built.resolution);
    let shop = Namespace::new("shop").unwrap();
    let rules = built.resolution.tail.digest(&shop).to_string();

    let digest = digest.replace(DIGEST, &rules);
    let with_tiers = json!({"route": "Collector", "tail": {"digest": digest}});
    snapshot.stacks = vec![stack(spec.clone(), with_tiers)];
    let changing = built.with_stacks(&snapshot).unwrap();
    assert!(!built.is_served_as(&changing));
    assert!(changing.served().tail.is_empty());
    assert_eq!(changing.served().table, built.resolution.table);
    let status = status(&changing, &found);
    assert_eq!(programmed(&status).reason, expected);

    snapshot.stacks = vec![stack(spec, without_tiers)];
    let changed = changing.with_stacks(&snapshot).unwrap();
    assert!(changed.is_served_as(&built));
}

/// A placeholder for the digest of the rules of [`tail`].
const DIGEST: &str = "the digest";
