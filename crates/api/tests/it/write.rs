//! Resources round-trip through YAML.

use jiff::{Timestamp, ToSpan};
use proptest::{collection::vec, option, prelude::*, strategy::ValueTree, test_runner::TestRunner};
use spoor_api::{
    AttributeMatch, ErrorMatch, Head, KeepRule, Metadata, RateLimitSpec, SamplingPolicy,
    SamplingPolicySpec, Tail, TargetSpec, format_duration, read, to_yaml,
};

fn percentage() -> impl Strategy<Value = String> {
    (0u32..=1_000_000).prop_map(|millionths| {
        spoor_policy::Probability::from_millionths(millionths)
            .unwrap()
            .to_string()
    })
}

fn head() -> impl Strategy<Value = Head> {
    prop_oneof![
        percentage().prop_map(|text| Head {
            probability: Some(text),
            rate_limit: None
        }),
        (1i64..=1_000_000).prop_map(|traces_per_second| Head {
            probability: None,
            rate_limit: Some(RateLimitSpec { traces_per_second }),
        }),
    ]
}

/// Includes texts that YAML reads as another type unless they are quoted.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~äß€😀]{1,20}",
        prop::sample::select(vec![
            "null", "~", "yes", "1", "0x1F", "1e3", "- a", "a: b", "# c", "'", "*a"
        ])
        .prop_map(str::to_owned),
    ]
}

fn rule() -> impl Strategy<Value = KeepRule> {
    prop_oneof![
        Just(KeepRule {
            error: Some(ErrorMatch {}),
            ..KeepRule::default()
        }),
        (1u64..3_600_000).prop_map(|millis| {
            let text = format_duration(std::time::Duration::from_millis(millis));
            KeepRule {
                slower_than: Some(text),
                ..KeepRule::default()
            }
        }),
        (text(), prop::collection::btree_set(text(), 1..5)).prop_map(|(key, values)| {
            let values = values.into_iter().collect();
            KeepRule {
                attribute: Some(AttributeMatch { key, values }),
                ..KeepRule::default()
            }
        }),
    ]
}

fn tail() -> impl Strategy<Value = Tail> {
    (vec(rule(), 0..5), percentage()).prop_map(|(rules, otherwise)| {
        let named = |(at, rule)| KeepRule {
            name: format!("rule-{at}"),
            ..rule
        };
        Tail {
            keep: rules.into_iter().enumerate().map(named).collect(),
            otherwise,
        }
    })
}

fn targets() -> impl Strategy<Value = Vec<TargetSpec>> {
    let operations = prop::collection::btree_set(text(), 0..4);
    prop::collection::btree_map(text(), operations, 0..4).prop_map(|targets| {
        let target =
            |(service, operations): (String, std::collections::BTreeSet<String>)| TargetSpec {
                service,
                operations: operations.into_iter().collect(),
            };
        targets.into_iter().map(target).collect()
    })
}

fn policy() -> impl Strategy<Value = SamplingPolicy> {
    let parts = prop_oneof![
        head().prop_map(|head| (Some(head), None)),
        tail().prop_map(|tail| (None, Some(tail))),
        (head(), tail()).prop_map(|(head, tail)| (Some(head), Some(tail))),
    ];
    let metadata = (
        "[a-z]([-a-z0-9]{0,10}[a-z0-9])?",
        option::of("[a-z]{1,10}"),
        text(),
    )
        .prop_map(|(name, namespace, text)| Metadata {
            name,
            namespace,
            annotations: [(text.clone(), text)].into(),
            ..Metadata::default()
        });
    let expires_at = option::of(0i64..2_000_000_000).prop_map(|seconds| {
        seconds.map(|seconds| (Timestamp::UNIX_EPOCH + seconds.seconds()).to_string())
    });
    (metadata, any::<i32>(), targets(), parts, expires_at).prop_map(
        |(metadata, priority, targets, (head, tail), expires_at)| {
            let spec = SamplingPolicySpec {
                priority,
                targets,
                head,
                tail,
                expires_at,
            };
            SamplingPolicy::new(metadata, spec)
        },
    )
}

#[test]
fn rules_have_every_condition() {
    let mut runner = TestRunner::deterministic();
    let rules = vec(rule(), 100).new_tree(&mut runner).unwrap().current();
    for field in KeepRule::CONDITIONS {
        let has_field = |rule| serde_json::to_value(rule).unwrap().get(field).is_some();
        assert!(rules.iter().any(has_field), "{field}");
    }
}

proptest! {
    #[test]
    fn policy_round_trips(policy in policy()) {
        let text = to_yaml(&policy).unwrap();
        let manifests = read::policies(&text, "p.yaml");
        let read = manifests.map(|manifests| {
            manifests.into_iter().map(|manifest| manifest.policy).collect::<Vec<_>>()
        });
        prop_assert_eq!(read, Ok(vec![policy]));
    }
}
