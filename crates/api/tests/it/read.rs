//! Reading policies, and the messages for errors.

use rstest::rstest;
use spoor_api::read::{self, PolicyManifest};

const GOOD: &str = "\
apiVersion: spoor.dev/v1alpha1
kind: SamplingPolicy
metadata:
  name: service-a
spec:
  head:
    probability: 1%
";

/// The errors in a text, one on each line.
pub(crate) fn errors(text: &str) -> String {
    let errors = read::policies(text, "p.yaml").expect_err("must not be accepted");
    errors.iter().map(|error| format!("{error}\n")).collect()
}

/// A policy whose `spec` is this, from line 6 on.
fn with_spec(spec: &str) -> String {
    let indented: String = spec.lines().map(|line| format!("  {line}\n")).collect();
    format!(
        "apiVersion: spoor.dev/v1alpha1\nkind: SamplingPolicy\nmetadata:\n  name: p\nspec:\n{indented}"
    )
}

#[test]
fn reads_a_policy() {
    let manifests = read::policies(GOOD, "p.yaml").unwrap();
    let [manifest @ PolicyManifest { policy, .. }] = manifests.as_slice() else {
        panic!("{manifests:?}")
    };
    assert_eq!(manifest.line, 1);
    assert_eq!(policy.metadata.name, "service-a");
    assert_eq!(
        policy.spec.head.as_ref().unwrap().probability.as_deref(),
        Some("1%")
    );
}

#[rstest]
#[case::unknown_field(
    "hed: {probability: 1%}",
    r#"p.yaml:6: spec.hed: unknown field; did you mean "head"?"#
)]
#[case::above_100_percent(
    "head:\n  probability: 150%",
    r#"p.yaml:7: spec.head.probability: must be from "0%" to "100%", not "150%""#
)]
#[case::a_number(
    "head:\n  probability: 1",
    r#"p.yaml:7: spec.head.probability: must be a string such as "1%", not the number 1"#
)]
#[case::two_heads(
    "head:\n  probability: 1%\n  rateLimit: {tracesPerSecond: 1}",
    r#"p.yaml:6: spec.head: must have one of "probability" and "rateLimit", not both; delete one"#
)]
#[case::misplaced_below_an_empty_field(
    "head:\nprobability: 1%",
    r#"p.yaml:7: spec.probability: unknown field; it belongs in "head": indent it below `head:`"#
)]
#[case::misplaced_field_of_an_item(
    "head: {probability: 1%}\nservice: a",
    r#"p.yaml:7: spec.service: unknown field; it belongs in "targets": indent it below `targets:`"#
)]
#[case::empty_head("head: {}", r#"p.yaml:6: spec.head: must have one of "probability" and "rateLimit", such as `probability: 1%`"#)]
#[case::neither(
    "priority: 3",
    r#"p.yaml:5: spec: must have "head", "tail" or both, such as `head: {probability: 1%}`"#
)]
#[case::invalid_duration("tail:\n  keep:\n  - name: slow\n    slowerThan: soon\n  otherwise: 1%", r#"p.yaml:9: spec.tail.keep[0].slowerThan: must be a duration such as "500ms", "2s" or "1m30s", not "soon""#)]
#[case::no_otherwise(
    "tail:\n  keep: []",
    r#"p.yaml:6: spec.tail.otherwise: is missing; it must be a string such as "10%""#
)]
#[case::two_conditions("tail: {otherwise: 0%, keep: [{name: a, error: {}, slowerThan: 1s}]}", r#"p.yaml:6: spec.tail.keep[0]: must have only one of "error", "slowerThan" and "attribute"; split it into several rules"#)]
#[case::error_without_braces("tail:\n  otherwise: 0%\n  keep:\n  - name: a\n    error:", r#"p.yaml:9: spec.tail.keep[0]: must have one of "error", "slowerThan" and "attribute", such as `error: {}`"#)]
#[case::rule_twice(
    "tail:\n  otherwise: 0%\n  keep:\n  - {name: a, error: {}}\n  - {name: a, error: {}}",
    r#"p.yaml:10: spec.tail.keep[1].name: duplicate "a"; list it once"#
)]
#[case::target_twice(
    "head: {probability: 1%}\ntargets:\n- service: a\n- service: a",
    r#"p.yaml:9: spec.targets[1].service: duplicate "a"; list it once"#
)]
#[case::priority("head: {probability: 1%}\npriority: high", r#"p.yaml:7: spec.priority: must be a whole number from -2147483648 to 2147483647, not the string "high""#)]
#[case::priority_of_many_digits(
    "head: {probability: 1%}\npriority: 99999999999999999999",
    "p.yaml:7: spec.priority: must be a whole number from -2147483648 to 2147483647, not 1e+20"
)]
#[case::priority_out_of_bounds(
    "head: {probability: 1%}\npriority: 3000000000",
    "p.yaml:7: spec.priority: must be a whole number from -2147483648 to 2147483647, not 3000000000"
)]
#[case::expiry(
    "head: {probability: 1%}\nexpiresAt: tomorrow",
    r#"p.yaml:7: spec.expiresAt: must be a time such as "2027-01-01T12:00:00Z", not "tomorrow""#
)]
#[case::rate(
    "head: {rateLimit: {tracesPerSecond: 0}}",
    "p.yaml:6: spec.head.rateLimit.tracesPerSecond: must be a whole number from 1 to 1000000, not 0"
)]
#[case::rate_of_many_digits(
    "head: {rateLimit: {tracesPerSecond: 9999999999999999999}}",
    "p.yaml:6: spec.head.rateLimit.tracesPerSecond: must be a whole number from 1 to 1000000, not 9999999999999999999"
)]
#[case::empty_values(
    "tail: {otherwise: 0%, keep: [{name: a, attribute: {key: k, values: []}}]}",
    "p.yaml:6: spec.tail.keep[0].attribute.values: must have at least one value"
)]
#[case::values_are_text(
    "tail: {otherwise: 0%, keep: [{name: a, attribute: {key: k, values: [1]}}]}",
    "p.yaml:6: spec.tail.keep[0].attribute.values[0]: must be a string, not the number 1"
)]
#[case::duration_out_of_bounds(
    "tail: {otherwise: 0%, keep: [{name: a, slowerThan: 2h}]}",
    "p.yaml:6: spec.tail.keep[0].slowerThan: must be from 1ms to 1h, not 2h"
)]
#[case::empty_service(
    "head: {probability: 1%}\ntargets: [{service: ''}]",
    "p.yaml:7: spec.targets[0].service: must not be empty"
)]
#[case::not_a_list(
    "head: {probability: 1%}\ntargets: service-a",
    r#"p.yaml:7: spec.targets: must be a list, not the string "service-a""#
)]
fn rejects_invalid_spec(#[case] spec: &str, #[case] message: &str) {
    assert_eq!(errors(&with_spec(spec)), format!("{message}\n"));
}

#[rstest]
#[case::unknown_at_the_top(
    &format!("{GOOD}targets: []\n"),
    "p.yaml:8: targets: unknown field; it belongs in \"spec\": indent it below `spec:`\n"
)]
#[case::unknown_in_metadata(
    &GOOD.replace("  name: service-a", "  name: service-a\n  lables: {}"),
    "p.yaml:5: metadata.lables: unknown field; did you mean \"labels\"?\n"
)]
#[case::bad_name(
    &GOOD.replace("service-a", "Service A"),
    "p.yaml:4: metadata.name: must be lower-case letters, digits, '-' and '.', with a letter or digit at each end\n"
)]
#[case::other_kind(
    &GOOD.replace("SamplingPolicy", "Deployment"),
    "p.yaml:2: kind: must be \"SamplingPolicy\", not the string \"Deployment\"\n"
)]
#[case::no_object(
    "just text",
    "p.yaml:1: must be a mapping with `apiVersion`, `kind`, `metadata` and `spec`, not the string \"just text\"\n"
)]
#[case::broken(
    &GOOD.replace("  head:", "  head: ["),
    "p.yaml:6: unclosed bracket '['; close each bracket, such as `{operations: [a, b]}`\n"
)]
#[case::field_twice(
    &format!("{GOOD}    probability: 2%\n"),
    "p.yaml:8: spec.head.probability: duplicate field; delete one\n"
)]
#[case::tag(
    &GOOD.replace("1%", "!percent 1"),
    "p.yaml:7: spec.head.probability: must not have a tag; remove the word that begins with \"!\"\n"
)]
#[case::one_of_two_documents(
    &format!("{GOOD}---\n{}", GOOD.replace("service-a", "b").replace("1%", "101%")),
    "p.yaml:15: spec.head.probability: must be from \"0%\" to \"100%\", not \"101%\"\n"
)]
#[case::both_documents(
    &format!("{}---\n# Two.\n{}", GOOD.replace("kind", "knd"), GOOD.replace("1%", "-1%")),
    "p.yaml:1: kind: is missing; add `kind: SamplingPolicy`\n\
     p.yaml:16: spec.head.probability: must be from \"0%\" to \"100%\", not \"-1%\"\n"
)]
#[case::syntax_error_in_the_second(
    &format!("{GOOD}---\n{}", GOOD.replace("  head:", "  head: [")),
    "p.yaml:14: unclosed bracket '['; close each bracket, such as `{operations: [a, b]}`\n"
)]
#[case::syntax_error_and_another(
    &format!("a: [\n---\n{}", GOOD.replace("1%", "-1%")),
    "p.yaml:1: unclosed bracket '['; close each bracket, such as `{operations: [a, b]}`\n\
     p.yaml:9: spec.head.probability: must be from \"0%\" to \"100%\", not \"-1%\"\n"
)]
#[case::no_line_between(
    "a: 1\n...\nb: 2\n",
    "p.yaml:3: must have a `---` line before the next document\n"
)]
#[case::name_twice(
    &format!("{GOOD}---\n{GOOD}"),
    "p.yaml:12: metadata.name: \"service-a\" is already defined at line 1; rename or delete one of the two\n"
)]
#[case::several_in_one(
    &GOOD.replace("  head:", "  prio: 1\n  targets: [{servce: a}]\n  head:"),
    "p.yaml:6: spec.prio: unknown field; known fields are expiresAt, head, priority, tail, targets\n\
     p.yaml:7: spec.targets[0].servce: unknown field; did you mean \"service\"?\n\
     p.yaml:7: spec.targets[0].service: is missing; it must be a string such as \"service-a\"\n"
)]
#[case::shape_and_values(
    &GOOD.replace("1%", "-1%").replace(
        "  head:",
        "  prio: 1\n  tail: {otherwise: 10, keep: [{name: slow, slowerThan: soon}]}\n  head:",
    ),
    "p.yaml:6: spec.prio: unknown field; known fields are expiresAt, head, priority, tail, targets\n\
     p.yaml:7: spec.tail.otherwise: must be a string such as \"10%\", not the number 10\n\
     p.yaml:7: spec.tail.keep[0].slowerThan: must be a duration such as \"500ms\", \"2s\" or \"1m30s\", not \"soon\"\n\
     p.yaml:9: spec.head.probability: must be from \"0%\" to \"100%\", not \"-1%\"\n"
)]
#[case::values_beside_an_item_of_another_type(
    &GOOD.replace(
        "  head:",
        "  targets:\n  - service: ''\n  - {service: a, operations: ['']}\n  - 5\n  head:",
    ),
    "p.yaml:7: spec.targets[0].service: must not be empty\n\
     p.yaml:8: spec.targets[1].operations[0]: must not be empty\n\
     p.yaml:9: spec.targets[2]: must be a mapping, not the number 5\n"
)]
#[case::two_heads_with_invalid_values(
    &GOOD.replace("probability: 1%", "probability: 5\n    rateLimit: {tracesPerSecond: -1}"),
    "p.yaml:6: spec.head: must have one of \"probability\" and \"rateLimit\", not both; delete one\n\
     p.yaml:7: spec.head.probability: must be a string such as \"1%\", not the number 5\n\
     p.yaml:8: spec.head.rateLimit.tracesPerSecond: must be a whole number from 1 to 1000000, not -1\n"
)]
#[case::unknown_condition_beside_an_empty_rule(
    &GOOD.replace(
        "  head:",
        "  tail:\n    otherwise: 0%\n    keep:\n    - {name: a, eror: {}}\n    - {name: b}\n  head:",
    ),
    "p.yaml:9: spec.tail.keep[0].eror: unknown field; did you mean \"error\"?\n\
     p.yaml:10: spec.tail.keep[1]: must have one of \"error\", \"slowerThan\" and \"attribute\", such as `error: {}`\n"
)]
#[case::missing_name_beside_another(
    &GOOD.replace("  head:", "  targets: [{servce: b}, {service: service-a}]\n  head:"),
    "p.yaml:6: spec.targets[0].servce: unknown field; did you mean \"service\"?\n\
     p.yaml:6: spec.targets[0].service: is missing; it must be a string such as \"service-a\"\n"
)]
#[case::in_the_order_of_lines(
    &GOOD.replace("  head:", "  zone: 1\n  tail: {}\n  expires: 1\n  head:").replace("kind: SamplingPolicy\n", "kind: SamplingPolicy\nalpha: 1\n"),
    "p.yaml:3: alpha: unknown field; known fields are apiVersion, kind, metadata, spec, status\n\
     p.yaml:7: spec.zone: unknown field; known fields are expiresAt, head, priority, tail, targets\n\
     p.yaml:8: spec.tail.otherwise: is missing; it must be a string such as \"10%\"\n\
     p.yaml:9: spec.expires: unknown field; did you mean \"expiresAt\"?\n"
)]
fn rejects_invalid_text(#[case] text: &str, #[case] message: &str) {
    assert_eq!(errors(text), message);
}

/// As `kubectl get samplingpolicies -o yaml --show-managed-fields` prints it.
const LIST: &str = "\
apiVersion: v1
items:
- apiVersion: spoor.dev/v1alpha1
  kind: SamplingPolicy
  metadata:
    annotations:
      kubectl.kubernetes.io/last-applied-configuration: |
        {}
    creationTimestamp: '2026-11-28T20:00:00Z'
    finalizers: []
    generation: 2
    managedFields:
    - apiVersion: spoor.dev/v1alpha1
      fieldsType: FieldsV1
      fieldsV1:
        f:spec:
          .: {}
          f:head:
            .: {}
            f:probability: {}
      manager: kubectl-client-side-apply
      operation: Update
      time: '2026-11-28T20:00:00Z'
    name: service-a
    namespace: spoor
    ownerReferences: []
    resourceVersion: '42'
    uid: 7d0a4c5e-0000-4000-8000-000000000000
  spec:
    head:
      probability: 1%
  status:
    conditions: []
- apiVersion: spoor.dev/v1alpha1
  kind: SamplingPolicy
  metadata:
    name: service-b
  spec:
    head:
      probability: 2%
kind: List
metadata:
  resourceVersion: ''
";

#[test]
fn reads_a_list_from_kubectl() {
    let manifests = read::policies(LIST, "p.yaml").unwrap();
    let names: Vec<(&str, usize)> = manifests
        .iter()
        .map(|manifest| (manifest.policy.metadata.name.as_str(), manifest.line))
        .collect();
    assert_eq!(names, [("service-a", 3), ("service-b", 34)]);
    let own_list = LIST
        .replace("apiVersion: v1\n", "apiVersion: spoor.dev/v1alpha1\n")
        .replace("kind: List", "kind: SamplingPolicyList");
    assert_eq!(read::policies(&own_list, "p.yaml").unwrap().len(), 2);
}

#[test]
fn only_server_fields_are_ignored() {
    let text = GOOD.replace(
        "  name: service-a",
        "  name: service-a\n  managedFields: [{manager: kubectl}]",
    );
    let manifests = read::policies(&text, "p.yaml").unwrap();
    assert_eq!(manifests.len(), 1);
}

#[rstest]
#[case::item(
    &LIST.replace("2%", "200%"),
    "p.yaml:40: items[1].spec.head.probability: must be from \"0%\" to \"100%\", not \"200%\"\n"
)]
#[case::item_of_another_kind(
    &LIST.replacen("kind: SamplingPolicy", "kind: TracingStack", 1),
    "p.yaml:4: items[0].kind: must be \"SamplingPolicy\"; apply a TracingStack to a cluster with `kubectl apply`\n"
)]
#[case::item_that_is_not_an_object(
    "apiVersion: v1\nkind: List\nitems:\n- 7\n",
    "p.yaml:4: items[0]: must be a mapping with `apiVersion`, `kind`, `metadata` and `spec`, not the number 7\n"
)]
#[case::item_twice(
    &LIST.replace("name: service-b", "name: service-a\n    namespace: spoor"),
    "p.yaml:37: items[1].metadata.name: \"service-a\" is already defined at line 3; rename or delete one of the two\n"
)]
#[case::no_items(
    "apiVersion: v1\nkind: List\n",
    "p.yaml:1: items: must be a list of resources\n"
)]
fn rejects_invalid_list(#[case] text: &str, #[case] message: &str) {
    assert_eq!(errors(text), message);
}

#[test]
fn empty_list_has_no_policies() {
    let empty = "apiVersion: v1\nkind: List\nitems: []\n";
    assert_eq!(read::policies(empty, "p.yaml").unwrap(), []);
}
