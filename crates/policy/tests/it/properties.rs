//! Properties of the resolution of arbitrary policies, compared with a plain implementation of the
//! rules.

use std::collections::BTreeSet;

use jiff::{Timestamp, ToSpan};
use proptest::{collection::vec, prelude::*, sample::subsequence};
use spoor_policy::{
    Acceptance, Assigned, Namespace, OwnedTailPlace, Plan, Policy, PolicyName, Setting, Strategies,
    Strategy as Head, TailPlace, TailTable, resolve,
};

use crate::build::{NOW, Spec, key, table};

const SERVICES: [&str; 3] = ["a", "b", "c"];
const OPERATIONS: [&str; 3] = ["x", "y", "z"];
/// Includes a service and an operation that no policy names.
const QUERIED_SERVICES: [&str; 4] = ["a", "b", "c", "other"];
const QUERIED_OPERATIONS: [&str; 4] = ["x", "y", "z", "other"];

fn spec() -> impl Strategy<Value = Spec> {
    let operations = || subsequence(OPERATIONS.to_vec(), 0..=3);
    let targets = subsequence(SERVICES.to_vec(), 0..=3)
        .prop_flat_map(move |services| {
            let len = services.len();
            (Just(services), vec(operations(), len))
        })
        .prop_map(|(services, operations)| services.into_iter().zip(operations));
    let head = prop_oneof![
        (0u32..4).prop_map(|percent| Some(Spec::new("p").percent(percent).head.unwrap())),
        (1i64..3).prop_map(|rate| Some(Spec::new("p").limit(rate).head.unwrap())),
        Just(None),
    ];
    let ends = proptest::option::of(-2i64..12);
    (targets, head, any::<bool>(), -1i32..=1, -3i64..=0, ends).prop_map(
        |(targets, head, has_tail, priority, created, ends)| {
            let mut spec = Spec::new("p").priority(priority).created(created);
            for (service, operations) in targets {
                spec = spec.at(service, &operations);
            }
            let has_tail = has_tail || head.is_none();
            let otherwise = if has_tail { spec.otherwise } else { None };
            Spec {
                head,
                otherwise,
                ends,
                ..spec
            }
        },
    )
}

/// Policies of one namespace, each with its own name.
fn policies() -> impl Strategy<Value = Vec<Policy>> {
    vec(spec(), 0..12).prop_map(|specs| {
        let named = |(at, spec)| {
            Spec {
                name: format!("p{at}"),
                ..spec
            }
            .build()
        };
        specs.into_iter().enumerate().map(named).collect()
    })
}

/// The specificity with which a policy applies to a root span: 2 for an operation, 1 for a service,
/// 0 for the namespace. `None` if it does not apply.
fn specificity(policy: &Policy, service: &str, operation: &str) -> Option<u8> {
    if policy.targets.is_empty() {
        return Some(0);
    }
    let target = policy
        .targets
        .iter()
        .find(|target| target.service.as_str() == service)?;
    if target.operations.is_empty() {
        return Some(1);
    }
    target
        .operations
        .iter()
        .any(|name| name.as_str() == operation)
        .then_some(2)
}

/// The winner by a direct implementation of the rules, in their order.
fn winner<'a>(
    policies: &'a [Policy],
    time: Timestamp,
    service: &str,
    operation: &str,
    has_part: impl Fn(&Policy) -> bool,
) -> Option<&'a Policy> {
    policies
        .iter()
        .filter(|policy| has_part(policy) && policy.expires_at.is_none_or(|end| time < end))
        .filter_map(|policy| Some((specificity(policy, service, operation)?, policy)))
        .max_by(|(specificity, one), (other_specificity, other)| {
            specificity
                .cmp(other_specificity)
                .then(one.priority.cmp(&other.priority))
                .then(other.created.cmp(&one.created))
                .then(other.key.cmp(&one.key))
        })
        .map(|(_, policy)| policy)
}

/// A phase without policies' names: its end, its default, its operations.
type ClientPhase = (Option<Timestamp>, Option<Head>, Vec<(String, Head)>);

/// The behaviour of clients under a plan: each change of strategies with its time.
fn behaviour(plan: &Plan) -> Vec<ClientPhase> {
    let strategy = |assigned: &Assigned| assigned.strategy;
    let mut phases: Vec<ClientPhase> = vec![];
    for phase in plan.phases() {
        let Strategies {
            default,
            operations,
        } = &phase.strategies;
        let operations: Vec<(String, Head)> = operations
            .iter()
            .map(|(name, assigned)| (name.to_string(), strategy(assigned)))
            .collect();
        let default = default.as_ref().map(strategy);
        match phases.last_mut() {
            Some((until, known, others)) if *known == default && *others == operations => {
                *until = phase.until;
            }
            _ => phases.push((phase.until, default, operations)),
        }
    }
    phases
}

proptest! {
    #[test]
    fn every_root_span_has_the_right_winner(policies in policies()) {
        let resolution = resolve(&policies, NOW);
        for service in QUERIED_SERVICES {
            let plan = table(&resolution, service);
            for operation in QUERIED_OPERATIONS {
                for seconds in 0..12 {
                    let time = NOW + seconds.seconds();
                    let resolved = plan.at(time).unwrap().strategy(operation);
                    let head = winner(&policies, time, service, operation, |p| p.head.is_some());
                    let expected = head.map(|policy| &policy.key.name);
                    // The last phase of a truncated plan also covers later phases.
                    if plan.phases().len() < 8 {
                        prop_assert_eq!(resolved.map(|assigned| &assigned.policy), expected);
                    }
                }
                let resolved = resolution.tail.policy("default", service, operation);
                let tail = winner(&policies, NOW, service, operation, |p| p.tail.is_some());
                prop_assert_eq!(resolved.map(|(_, name, _)| name), tail.map(|policy| &policy.key.name));
                let namespace = Namespace::default();
                let first = resolution.tail.places(&namespace).find(|(place, ..)| match place {
                    TailPlace::Operation(of, name) => of.as_str() == service && name.as_str() == operation,
                    TailPlace::Service(of) => of.as_str() == service,
                    TailPlace::Namespace => true,
                });
                prop_assert_eq!(first.map(|(_, name, policy)| (&namespace, name, policy)), resolved);
            }
        }
    }

    #[test]
    fn order_of_policies_does_not_matter(
        (policies, shuffled) in policies().prop_flat_map(|policies| {
            (Just(policies.clone()), Just(policies).prop_shuffle())
        })
    ) {
        prop_assert_eq!(resolve(&policies, NOW), resolve(&shuffled, NOW));
    }

    #[test]
    fn phases_ascend_and_the_last_has_no_end(policies in policies()) {
        let resolution = resolve(&policies, NOW);
        for service in QUERIED_SERVICES {
            let plan = table(&resolution, service);
            let ends: Vec<Option<Timestamp>> = plan.phases().iter().map(|p| p.until).collect();
            let (last, others) = ends.split_last().unwrap();
            prop_assert!(last.is_none() && others.iter().all(Option::is_some));
            prop_assert!(others.is_sorted_by(|one, next| one < next));
            prop_assert!(others.iter().flatten().all(|end| *end > NOW));
            let repeats = plan.phases().windows(2).any(|two| two[0].strategies == two[1].strategies);
            prop_assert!(!repeats);
        }
        let live = policies.iter().filter_map(|policy| policy.expires_at).filter(|end| *end > NOW);
        prop_assert_eq!(resolution.next_expiry, live.min());
    }

    #[test]
    fn equal_digests_mean_equal_behaviour(one in policies(), other in policies()) {
        let (one, other) = (resolve(&one, NOW), resolve(&other, NOW));
        for service in QUERIED_SERVICES {
            for (one, other) in [
                (table(&one, service), table(&other, service)),
                (table(&one, service), table(&one, "a")),
            ] {
                let alike = behaviour(one) == behaviour(other);
                prop_assert_eq!(one.digest() == other.digest(), alike);
            }
        }
    }

    #[test]
    fn tail_table_rebuilt_from_places_is_equal(policies in policies()) {
        let tail = resolve(&policies, NOW).tail;
        let namespace = Namespace::default();
        let places = tail.places(&namespace).map(|(place, name, policy)| {
            (OwnedTailPlace::from(place), name.clone(), policy.clone())
        });
        let built = TailTable::new(namespace.clone(), places).unwrap();
        prop_assert_eq!(built.digest(&namespace), tail.digest(&namespace));
        prop_assert_eq!(built, tail);
    }

    #[test]
    fn outcomes_agree_with_tables(policies in policies()) {
        let resolution = resolve(&policies, NOW);
        for policy in &policies {
            let outcome = &resolution.outcomes[&policy.key];
            let own = &policy.key.name;
            for place in &outcome.effective {
                let service = place.service.as_ref().map_or("other", |service| service.as_str());
                let operation = place.operation.as_ref().map_or("other", |name| name.as_str());
                match &place.setting {
                    Setting::Head(strategy) => {
                        let plan = table(&resolution, service);
                        let resolved = plan.at(NOW).unwrap().strategy(operation).unwrap();
                        prop_assert_eq!((&resolved.policy, &resolved.strategy), (own, strategy));
                    }
                    Setting::Tail { .. } => {
                        let resolved = resolution.tail.policy("default", service, operation);
                        prop_assert_eq!(resolved.unwrap().1, own);
                    }
                }
            }
            let winners: BTreeSet<PolicyName> =
                outcome.overridden.iter().map(|overridden| overridden.by.clone()).collect();
            prop_assert!(!winners.contains(own));
            let is_right = match &outcome.acceptance {
                Acceptance::Accepted => winners.is_empty() && !outcome.effective.is_empty(),
                Acceptance::PartiallyOverridden(by) => *by == winners && !outcome.effective.is_empty(),
                Acceptance::Conflicted(by) => *by == winners && outcome.effective.is_empty(),
                Acceptance::Expired(end) => *end <= NOW && policy.expires_at == Some(*end),
            };
            prop_assert!(is_right, "{:?}", outcome);
        }
        prop_assert_eq!(resolution.outcomes.len(), policies.len());
        prop_assert!(policies.is_empty() || resolution.outcomes.contains_key(&key("p0")));
    }
}
