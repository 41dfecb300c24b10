#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*};
use rstest::rstest;
use spoor_policy::TailPlace;

use super::*;

/// The message of a table, as the control plane writes it.
fn message(table: &TailTable, namespace: &Namespace) -> wire::TailRules {
    let mut policies: BTreeMap<&PolicyName, wire::TailPolicy> = BTreeMap::new();
    for (place, name, tail) in table.places(namespace) {
        let policy = policies.entry(name).or_insert_with(|| wire::TailPolicy {
            name: name.to_string(),
            places: Vec::new(),
            rules: tail.keep().iter().map(rule_message).collect(),
            otherwise_millionths: tail.otherwise().millionths(),
        });
        policy.places.push(place_message(place));
    }
    wire::TailRules {
        version: Some(wire::Version {
            epoch: 1,
            sequence: 2,
        }),
        digest: table.digest(namespace).0.to_be_bytes().to_vec(),
        namespace: namespace.to_string(),
        policies: policies.into_values().collect(),
    }
}

fn rule_message(rule: &Rule) -> wire::TailRule {
    use wire::tail_rule::{Attribute, Error};
    let condition = match &rule.condition {
        RuleCondition::Error => Condition::Error(Error {}),
        RuleCondition::SlowerThan(duration) => {
            Condition::SlowerThanNanos(duration.as_nanos().try_into().unwrap())
        }
        RuleCondition::Attribute { key, values } => Condition::Attribute(Attribute {
            key: key.to_string(),
            values: values.clone(),
        }),
    };
    wire::TailRule {
        name: rule.name.to_string(),
        condition: Some(condition),
    }
}

fn place_message(place: TailPlace<'_>) -> wire::TailPlace {
    let (service, operation) = match place {
        TailPlace::Operation(service, operation) => (service.to_string(), operation.to_string()),
        TailPlace::Service(service) => (service.to_string(), String::new()),
        TailPlace::Namespace => (String::new(), String::new()),
    };
    wire::TailPlace { service, operation }
}

fn condition() -> impl Strategy<Value = RuleCondition> {
    let attribute = ("[a-z.]{1,12}", vec(".{0,8}", 1..4));
    prop_oneof![
        Just(RuleCondition::Error),
        (1_u64..3_600_000).prop_map(|ms| RuleCondition::SlowerThan(Duration::from_millis(ms))),
        attribute.prop_map(|(key, values)| RuleCondition::Attribute {
            key: AttributeKey::new(key).unwrap(),
            values,
        }),
    ]
}

fn tail() -> impl Strategy<Value = TailPolicy> {
    (vec(condition(), 0..5), 0_u32..=1_000_000).prop_map(|(conditions, otherwise)| {
        let rules = conditions.into_iter().enumerate();
        let rules = rules.map(|(index, condition)| Rule {
            name: RuleName::new(format!("rule-{index}")).unwrap(),
            condition,
        });
        let otherwise = Probability::from_millionths(otherwise).unwrap();
        TailPolicy::new(rules.collect(), otherwise).unwrap()
    })
}

/// Tables with some policies, each at one or several of nine places.
fn table() -> impl Strategy<Value = TailTable> {
    let at = proptest::option::of(0_usize..4);
    (vec(tail(), 4), vec(at, 9)).prop_map(|(tails, policies)| {
        let places = policies
            .into_iter()
            .enumerate()
            .filter_map(|(place, policy)| {
                let policy = policy?;
                let name = PolicyName::new(format!("policy-{policy}")).unwrap();
                Some((nth_place(place), name, tails[policy].clone()))
            });
        TailTable::new(Namespace::default(), places).unwrap()
    })
}

fn nth_place(place: usize) -> OwnedTailPlace {
    let service = ServiceName::new(format!("service-{}", place % 3)).unwrap();
    match place {
        0 => OwnedTailPlace::Namespace,
        1..=3 => OwnedTailPlace::Service(service),
        _ => {
            let operation = OperationName::new(format!("GET /{place}")).unwrap();
            OwnedTailPlace::Operation(service, operation)
        }
    }
}

proptest! {
    #[test]
    fn table_survives_the_wire(table in table()) {
        let namespace = Namespace::default();
        let rules = Rules::read(&message(&table, &namespace)).unwrap();
        prop_assert_eq!(rules.version, Version { epoch: 1, sequence: 2 });
        prop_assert_eq!(rules.table, table);
    }
}

/// A message with one policy, which keeps errors of a service.
fn valid_message() -> wire::TailRules {
    let rule = Rule {
        name: RuleName::new("failed").unwrap(),
        condition: RuleCondition::Error,
    };
    let tail = TailPolicy::new(vec![rule], Probability::NEVER).unwrap();
    let place = OwnedTailPlace::Service(ServiceName::new("shop").unwrap());
    let policy = (place, PolicyName::new("errors").unwrap(), tail);
    let namespace = Namespace::default();
    let table = TailTable::new(namespace.clone(), [policy]).unwrap();
    message(&table, &namespace)
}

#[rstest]
#[case::version(|it: &mut wire::TailRules| it.version = None, "version: must be set")]
#[case::digest(
    |it: &mut wire::TailRules| it.digest.clear(),
    "digest: differs from that of the rules as this sampler reads them; update the sampler"
)]
#[case::namespace(
    |it: &mut wire::TailRules| it.namespace.clear(),
    "namespace: must not be empty"
)]
#[case::policy(
    |it: &mut wire::TailRules| it.policies[0].name.clear(),
    "policies[0].name: must not be empty"
)]
#[case::otherwise(
    |it: &mut wire::TailRules| it.policies[0].otherwise_millionths = 2_000_000,
    "policies[0].otherwise_millionths: must be from \"0%\" to \"100%\", not \"200%\""
)]
#[case::condition(
    |it: &mut wire::TailRules| it.policies[0].rules[0].condition = None,
    "policies[0].rules[0].condition: must be one that this sampler supports; update the sampler"
)]
#[case::duration(
    |it: &mut wire::TailRules| {
        it.policies[0].rules[0].condition = Some(Condition::SlowerThanNanos(1));
    },
    "policies[0].rules: rule \"failed\": must be from 1ms to 1h, not 1ns"
)]
#[case::duplicate_rule(
    |it: &mut wire::TailRules| {
        let rule = it.policies[0].rules[0].clone();
        it.policies[0].rules.push(rule);
    },
    "policies[0].rules: duplicate rule name \"failed\"; rename one of the rules"
)]
#[case::operation(
    |it: &mut wire::TailRules| {
        it.policies[0].places[0] = wire::TailPlace {
            service: String::new(),
            operation: "GET /".to_owned(),
        };
    },
    "policies[0].places[0].operation: must be empty without a service"
)]
#[case::duplicate_place(
    |it: &mut wire::TailRules| {
        let place = it.policies[0].places[0].clone();
        it.policies[0].places.push(place);
    },
    "policies: duplicate place (shop); list it once"
)]
fn invalid_field_is_named(#[case] change: fn(&mut wire::TailRules), #[case] problem: &str) {
    let mut message = valid_message();
    assert!(Rules::read(&message).is_ok());
    change(&mut message);
    assert_eq!(Rules::read(&message).unwrap_err().to_string(), problem);
}
