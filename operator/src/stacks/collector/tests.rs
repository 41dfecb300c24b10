#![allow(clippy::unwrap_used, clippy::expect_used)]

use jiff::Timestamp;
use spoor_api::{KeepRule, TracingStack, stack::Collector};
use spoor_policy::{Policy, resolve};

use super::*;

fn stack(yaml: &str) -> Stack {
    let stack: TracingStack = serde_yaml::from_str(&format!(
        "apiVersion: spoor.dev/v1alpha1\nkind: TracingStack\nmetadata: {{name: tracing, namespace: shop}}\nspec:\n  sampler: {{engine: OpenTelemetry}}\n  collector:\n{yaml}"
    ))
    .unwrap();
    stack.validate().unwrap()
}

fn collector(stack: &Stack) -> &ManagedCollector {
    match &stack.collector {
        Collector::Managed(collector) => collector,
        Collector::Existing(_) => unreachable!("the tests run their own"),
    }
}

/// The table of several policies, each given as its `spec`.
fn table(specs: &[&str]) -> TailTable {
    let policies: Vec<Policy> = specs
        .iter()
        .enumerate()
        .map(|(number, spec)| {
            let text = format!(
                "apiVersion: spoor.dev/v1alpha1\nkind: SamplingPolicy\nmetadata: {{name: policy-{number}, namespace: shop}}\nspec: {spec}"
            );
            let policy: spoor_api::SamplingPolicy = serde_yaml::from_str(&text).unwrap();
            policy.validate(Timestamp::UNIX_EPOCH).unwrap()
        })
        .collect();
    resolve(&policies, Timestamp::UNIX_EPOCH).tail
}

fn built(stack: &Stack, tail: &TailTable) -> CollectorObjects {
    build(&CollectorInput {
        stack,
        collector: collector(stack),
        jaeger_otlp: "tracing-jaeger:4317",
        counts_endpoint: "http://spoor-policies.spoor.svc:4318",
        tail,
        pods: &PodDefaults::default(),
    })
}

/// Objects that differ in their rules, image and replicas.
pub(super) fn objects(rules: u8, image: u8, replicas: u8) -> CollectorObjects {
    let stack = stack(&format!(
        "    {{image: \"collector:{image}\", replicas: {replicas}}}"
    ));
    let spec = format!("{{tail: {{otherwise: {rules}%}}}}");
    let specs: &[&str] = if rules == 0 { &[] } else { &[&spec] };
    built(&stack, &table(specs))
}

/// A rule for each condition.
const RULES: [(&str, &str); 3] = [
    ("errors", "error: {}"),
    ("slow", "slowerThan: 500ms"),
    (
        "gold",
        "attribute: {key: customer.tier, values: [gold, '7']}",
    ),
];

/// Every kind of rule, at every kind of place.
fn many_rules() -> TailTable {
    let rules = RULES.map(|(name, condition)| format!("{{name: {name}, {condition}}}"));
    table(&[
        &format!(
            "{{targets: [{{service: checkout}}, {{service: cart}}], tail: {{otherwise: 10%, keep: [{}]}}}}",
            rules.join(", ")
        ),
        "{targets: [{service: checkout, operations: [GET /pay, 'say \"$$ ${env:HOME}\"']}], tail: {otherwise: 0%}}",
        "{targets: [{service: search, operations: [GET /]}], tail: {otherwise: 100%, keep: [{name: errors, error: {}}]}}",
        "{tail: {otherwise: 0.05%}}",
    ])
}

fn config(tier: &Tier) -> &str {
    &tier.config.data.as_ref().unwrap()["config.yaml"]
}

#[test]
fn builds_both_tiers_with_one_replica() {
    let stack = stack("    {}");
    let objects = built(&stack, &TailTable::default());
    insta::assert_snapshot!("gather_config", config(&objects.gather));
    insta::assert_snapshot!("decide_config", config(&objects.decide));
    insta::assert_yaml_snapshot!("gather_workload", objects.gather.workload);
    insta::assert_yaml_snapshot!("decide_workload", objects.decide.workload);
    insta::assert_yaml_snapshot!("services", services(&stack));
    insta::assert_yaml_snapshot!("network_policies", objects.network_policies);
    assert_eq!(objects.disruption_budget, None);
}

#[test]
fn builds_both_tiers_with_every_setting() {
    let stack = stack(
        "    image: mirror/collector:1
    replicas: 2
    gatherWait: 3s
    decisionWait: 10s
    exporters:
      debug: {verbosity: basic}
      otlp_http/vendor: {endpoint: 'https://vendor.example', headers: {key: '${env:KEY}'}}
    envFromSecrets: [vendor]
    resources: {limits: {memory: 1Gi, cpu: '2'}}
    scheduling: {nodeSelector: {kubernetes.io/arch: amd64}, priorityClassName: high}",
    );
    let objects = built(&stack, &many_rules());
    insta::assert_snapshot!("gather_config_of_two", config(&objects.gather));
    insta::assert_snapshot!("decide_config_with_rules", config(&objects.decide));
    insta::assert_yaml_snapshot!("gather_workload_of_two", objects.gather.workload);
    insta::assert_yaml_snapshot!("decide_workload_with_secrets", objects.decide.workload);
    insta::assert_yaml_snapshot!("disruption_budget", objects.disruption_budget);
}

#[test]
fn every_condition_reaches_the_collector() {
    let stack = stack("    {}");
    let config_with = |rules: &str| {
        let spec = format!("{{tail: {{otherwise: 0%, keep: [{rules}]}}}}");
        config(&built(&stack, &table(&[&spec])).decide).to_owned()
    };
    for field in KeepRule::CONDITIONS {
        let rule = RULES.iter().find(|(_, rule)| rule.starts_with(field));
        let rule = rule.map(|(_, rule)| format!("{{name: only, {rule}}}"));
        // This also fails if `RULES` has no rule for the condition.
        assert_ne!(
            config_with(&rule.unwrap_or_default()),
            config_with(""),
            "{field}"
        );
    }
}

#[test]
fn new_rules_change_only_the_deciding_pod() {
    let stack = stack("    {replicas: 2}");
    let (none, many) = (
        built(&stack, &TailTable::default()),
        built(&stack, &many_rules()),
    );
    assert_ne!(none.decide, many.decide);
    let annotation = |objects: &CollectorObjects, key: &str| {
        let template = &objects.decide.workload.spec.as_ref().unwrap().template;
        template
            .metadata
            .as_ref()
            .unwrap()
            .annotations
            .as_ref()
            .unwrap()[key]
            .clone()
    };
    assert_eq!(
        annotation(&none, PIPELINE_HASH),
        annotation(&many, PIPELINE_HASH)
    );
    assert_ne!(
        annotation(&none, TAIL_DIGEST),
        annotation(&many, TAIL_DIGEST)
    );
    assert_eq!(annotation(&many, TAIL_POLICIES), "4");
    assert_eq!(
        CollectorObjects {
            decide: none.decide.clone(),
            ..many
        },
        none
    );
}

#[test]
fn ignores_rules_of_other_namespaces() {
    let mut elsewhere = stack("    {}");
    elsewhere.namespace = spoor_policy::Namespace::new("elsewhere").unwrap();
    let none = built(&elsewhere, &TailTable::default());
    assert_eq!(
        built(&elsewhere, &many_rules()).decide.config,
        none.decide.config
    );
}
