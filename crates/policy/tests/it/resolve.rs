//! The winners of places and the outcomes of policies.

use std::time::Duration;

use jiff::{Timestamp, ToSpan};
use rstest::rstest;
use spoor_policy::{Acceptance, Namespace, Policy, Resolution, RuleCondition, Strategy, resolve};

use crate::build::{NOW, Spec, key, name, table};

fn resolved(specs: &[Spec]) -> Resolution {
    let policies: Vec<Policy> = specs.iter().map(Spec::build).collect();
    resolve(&policies, NOW)
}

fn acceptance<'a>(resolution: &'a Resolution, policy: &str) -> &'a Acceptance {
    &resolution.outcomes[&key(policy)].acceptance
}

fn overridden(resolution: &Resolution, policy: &str) -> Vec<String> {
    resolution.outcomes[&key(policy)]
        .overridden
        .iter()
        .map(ToString::to_string)
        .collect()
}

/// Each pair applies to the same root spans: service `a`, operation `x`.
#[rstest]
#[case::operation_before_service(Spec::new("p").at("a", &["x"]), Spec::new("q").at("a", &[]).priority(9))]
#[case::operation_before_namespace(Spec::new("p").at("a", &["x"]), Spec::new("q").priority(9))]
#[case::service_before_namespace(Spec::new("p").at("a", &[]), Spec::new("q").priority(9))]
#[case::priority(Spec::new("q").priority(1), Spec::new("p").created(-9))]
#[case::negative_priority(Spec::new("q"), Spec::new("p").priority(-1).created(-9))]
#[case::the_older(Spec::new("q").created(-2), Spec::new("p").created(-1))]
#[case::the_first_by_name(Spec::new("p"), Spec::new("q"))]
#[case::one_in_force_before_one_that_ended(Spec::new("p"), Spec::new("q").priority(9).ends(-1))]
#[case::one_in_force_before_one_that_ends_now(Spec::new("p"), Spec::new("q").priority(9).ends(0))]
fn one_policy_wins(#[case] winner: Spec, #[case] loser: Spec) {
    for specs in [[winner.clone(), loser.clone()], [loser, winner.clone()]] {
        let resolution = resolved(&specs);
        let strategies = table(&resolution, "a").at(NOW).unwrap().clone();
        assert_eq!(
            strategies.strategy("x").unwrap().policy.as_str(),
            winner.name
        );
        let (_, by, _) = resolution.tail.policy("default", "a", "x").unwrap();
        assert_eq!(by.as_str(), winner.name);
    }
}

#[test]
fn places_share_the_rules_of_their_policy() {
    let resolution = resolved(&[Spec::new("p").at("a", &["x", "y"])]);
    let rules = |operation: &str| {
        let tail = resolution.tail.policy("default", "a", operation);
        let (.., tail) = tail.unwrap();
        assert_eq!(tail.keep().len(), 1);
        tail.keep().as_ptr()
    };
    assert_eq!(rules("x"), rules("y"));
}

#[test]
fn service_without_policy_has_no_strategy() {
    let resolution = resolved(&[Spec::new("p").at("a", &["x"])]);
    let strategies = table(&resolution, "a").at(NOW).unwrap().clone();
    assert!(strategies.strategy("y").is_none());
    assert!(resolution.tail.policy("default", "a", "y").is_none());
    assert_eq!(table(&resolution, "b").at(NOW).unwrap().default, None);
    assert_eq!(
        resolution
            .table
            .plan("elsewhere", "a")
            .at(NOW)
            .unwrap()
            .default,
        None
    );
}

#[test]
fn most_specific_policy_decides() {
    let resolution = resolved(&[
        Spec::new("operation").at("a", &["x"]),
        Spec::new("service").at("a", &[]),
        Spec::new("namespace"),
    ]);
    let decides = |service: &str, operation: &str| {
        let strategies = table(&resolution, service).at(NOW).unwrap().clone();
        let head = strategies.strategy(operation).unwrap().policy.to_string();
        let tail = resolution.tail.policy("default", service, operation);
        let (_, tail, _) = tail.unwrap();
        assert_eq!(head, tail.as_str());
        head
    };
    assert_eq!(decides("a", "x"), "operation");
    assert_eq!(decides("a", "y"), "service");
    assert_eq!(decides("b", "x"), "namespace");
}

#[test]
fn head_and_tail_are_resolved_separately() {
    let resolution = resolved(&[
        Spec::new("head").at("a", &[]).head_only().priority(1),
        Spec::new("both").at("a", &[]),
    ]);
    assert_eq!(acceptance(&resolution, "head"), &Acceptance::Accepted);
    assert_eq!(
        acceptance(&resolution, "both"),
        &Acceptance::PartiallyOverridden([name("head")].into())
    );
    assert_eq!(
        overridden(&resolution, "both"),
        ["\"head\" decides the head of a, because it has the higher priority (1 over 0)"]
    );
}

#[test]
fn broader_policy_is_overridden_in_part() {
    let resolution = resolved(&[
        Spec::new("namespace").head_only(),
        Spec::new("service").at("a", &[]).head_only(),
        Spec::new("operation").at("a", &["GET /"]).head_only(),
    ]);
    assert_eq!(
        acceptance(&resolution, "namespace"),
        &Acceptance::PartiallyOverridden([name("service"), name("operation")].into())
    );
    assert_eq!(
        overridden(&resolution, "namespace"),
        [
            "\"service\" decides the head of a, because it is for that service",
            "\"operation\" decides the head of a \"GET /\", because it is for that operation",
        ]
    );
    assert_eq!(
        overridden(&resolution, "service"),
        ["\"operation\" decides the head of a \"GET /\", because it is for that operation"]
    );
    assert_eq!(acceptance(&resolution, "operation"), &Acceptance::Accepted);
}

#[test]
fn policy_that_wins_nowhere_is_conflicted() {
    let resolution = resolved(&[
        Spec::new("old").at("a", &[]).created(-5000).head_only(),
        Spec::new("new").at("a", &[]).head_only(),
    ]);
    assert_eq!(
        acceptance(&resolution, "new"),
        &Acceptance::Conflicted([name("old")].into())
    );
    let expected = ["\"old\" decides the head of a, because it is older"];
    assert_eq!(overridden(&resolution, "new"), expected);
}

#[test]
fn namespaces_are_independent() {
    let resolution = resolved(&[
        Spec::new("p").at("a", &[]),
        Spec::new("p").at("a", &[]).namespace("other").priority(9),
    ]);
    assert!(
        resolution
            .outcomes
            .values()
            .all(|o| o.acceptance == Acceptance::Accepted)
    );
    assert_eq!(resolution.outcomes.len(), 2);
}

#[test]
fn plan_includes_successors_of_expiring_policies() {
    let resolution = resolved(&[
        Spec::new("first")
            .at("a", &[])
            .priority(3)
            .ends(10)
            .percent(3),
        Spec::new("never")
            .at("a", &[])
            .priority(2)
            .ends(5)
            .percent(4),
        Spec::new("second")
            .at("a", &[])
            .priority(1)
            .ends(20)
            .percent(2),
        Spec::new("last").percent(1),
    ]);
    let plan = table(&resolution, "a");
    let phases: Vec<(Option<Timestamp>, String)> = plan
        .phases()
        .iter()
        .map(|phase| {
            (
                phase.until,
                phase
                    .strategies
                    .default
                    .as_ref()
                    .unwrap()
                    .policy
                    .to_string(),
            )
        })
        .collect();
    let at = |seconds: i64| Some(NOW + seconds.seconds());
    let expected = [(at(10), "first"), (at(20), "second"), (None, "last")];
    assert_eq!(
        phases,
        expected.map(|(until, policy)| (until, policy.to_owned()))
    );
    assert_eq!(resolution.next_expiry, at(5));
    let one = |moment: Timestamp| plan.at(moment).unwrap().default.as_ref().unwrap().strategy;
    let last = NOW + 10.seconds() - 1.nanosecond();
    assert_eq!(one(last), Strategy::Probability("3%".parse().unwrap()));
    assert_eq!(
        one(NOW + 10.seconds()),
        Strategy::Probability("2%".parse().unwrap())
    );
}

#[test]
fn plan_has_at_most_eight_phases() {
    let specs: Vec<Spec> = (0..20)
        .map(|i| {
            Spec::new(&format!("p{i}"))
                .priority(20 - i)
                .ends(i64::from(i) + 1)
        })
        .collect();
    let resolution = resolved(&specs);
    let phases = table(&resolution, "a").phases();
    assert_eq!(phases.len(), 8);
    assert_eq!(phases.last().unwrap().until, None);
}

#[test]
fn plan_of_many_operations_has_fewer_phases() {
    let names: Vec<String> = (0..3_000).map(|it| format!("{it:0>400}")).collect();
    let chunks: Vec<Vec<&str>> = names
        .chunks(60)
        .map(|names| names.iter().map(String::as_str).collect())
        .collect();
    let specs = chunks.iter().zip(1..);
    let specs = specs.map(|(names, end)| Spec::new(&format!("p{end}")).at("a", names).ends(end));
    let resolution = resolved(&specs.collect::<Vec<_>>());
    let phases = table(&resolution, "a").phases();
    // Each takes 3,000 times 420 bytes of the 4,000,000.
    assert_eq!(phases.len(), 3);
    assert_eq!(phases[2].until, None);
    assert_eq!(resolution.next_expiry, phases[0].until);
}

#[test]
fn equal_consecutive_phases_do_not_change_digest() {
    let same = resolved(&[Spec::new("now").priority(1).ends(10), Spec::new("then")]);
    let always = resolved(&[Spec::new("then")]);
    assert_eq!(table(&same, "a").phases().len(), 2);
    assert_eq!(table(&same, "a").digest(), table(&always, "a").digest());
    let other = resolved(&[
        Spec::new("now").priority(1).ends(10).percent(7),
        Spec::new("then"),
    ]);
    assert_ne!(table(&other, "a").digest(), table(&always, "a").digest());
}

#[rstest]
#[case::all_errors_arrive(Spec::new("p").percent(100), &[])]
#[case::own_head(Spec::new("p").percent(1).otherwise("1%"), &[
    "tail rules apply only to the traces that a head keeps: 1% by its own head at every service",
])]
#[case::otherwise_is_out_of_reach(Spec::new("p").percent(1).otherwise("10%").rules(vec![]), &[
    "tail rules apply only to the traces that a head keeps: 1% by its own head at every service; where a head keeps less than `tail.otherwise`, the tail keeps every trace that it receives",
])]
#[case::limit_for_operations(Spec::new("p").at("a", &["x"]).limit(3), &[
    "polling clients cannot apply a rate limit to individual operations; they sample these like the rest of the service",
])]
fn fields_without_effect_cause_warnings(#[case] spec: Spec, #[case] expected: &[&str]) {
    assert_eq!(resolved(&[spec]).outcomes[&key("p")].warnings, expected);
}

#[rstest]
#[case::operation(&["x"], &["tail"], r#"2% by "head" at a "x""#)]
#[case::whole_service(&[], &["tail"], r#"2% by "head" at a"#)]
#[case::another_head(&[], &["tail", "x"], r#"2% by "head" at a (except "x")"#)]
#[case::another_service(&[], &["everywhere"], r#"2% by "head" at a"#)]
#[case::lower_for_an_operation(&[], &["everywhere", "y"], r#"1% by "y" at a "y", 2% by "head" at a (except "y")"#)]
#[case::namespace(&[], &["everywhere", "rest", "x", "y"], r#"1% by "y" at a "y", 2% by "head" at a (except "x", "y"), 3% by "rest" at every service (except a)"#)]
#[case::other_tail(&[], &["everywhere", "tail"], "")]
fn tail_warning_names_heads_by_place(
    #[case] operations: &[&str],
    #[case] others: &[&str],
    #[case] heads: &str,
) {
    let other = |name: &&str| match *name {
        "tail" => Spec::new("tail").at("a", operations).tail_only(),
        "everywhere" => Spec::new("tail-everywhere").tail_only(),
        "rest" => Spec::new("rest").head_only().percent(3),
        "y" => Spec::new("y").at("a", &["y"]).head_only().percent(1),
        x => Spec::new(x).at("a", &["x"]).head_only().percent(100),
    };
    let head = Spec::new("head").at("a", &[]).head_only().percent(2);
    let specs: Vec<Spec> = others.iter().map(other).chain([head]).collect();
    let last = if others.contains(&"everywhere") {
        "tail-everywhere"
    } else {
        "tail"
    };
    let warnings = &resolved(&specs).outcomes[&key(last)].warnings;
    let expected = format!("tail rules apply only to the traces that a head keeps: {heads}");
    let expected = Some(expected).filter(|_| !heads.is_empty());
    assert_eq!(*warnings, Vec::from_iter(expected));
}

#[test]
fn tail_warning_names_three_operations() {
    let one = |number: u8| {
        let name = format!("op-{number}");
        Spec::new(&name).at("a", &[&name]).head_only().percent(100)
    };
    let tail = Spec::new("tail").at("a", &[]).percent(2);
    let specs: Vec<Spec> = (1..=5).map(one).chain([tail]).collect();
    let warnings = &resolved(&specs).outcomes[&key("tail")].warnings;
    let expected = r#"2% by its own head at a (except "op-1", "op-2", "op-3" and 2 more)"#;
    assert!(
        warnings.iter().any(|it| it.ends_with(expected)),
        "{warnings:?}"
    );
}

#[test]
fn expired_policy_reports_its_expiry() {
    let resolution = resolved(&[Spec::new("p").ends(-60)]);
    assert_eq!(
        acceptance(&resolution, "p"),
        &Acceptance::Expired(NOW - 60.seconds())
    );
    assert_eq!(resolution.next_expiry, None);
    assert!(resolution.tail.is_empty());
}

/// Compared with a literal, since the digest must be the same in processes of different versions.
#[test]
fn tail_digest_is_stable() {
    let digest = |specs: &[Spec]| {
        let namespace = Namespace::default();
        resolved(specs).tail.digest(&namespace).to_string()
    };
    // All conditions, since the number of each is part of stored digests.
    let conditions = vec![
        RuleCondition::Error,
        RuleCondition::SlowerThan(Duration::from_millis(500)),
        RuleCondition::Attribute {
            key: "customer.tier".parse().unwrap(),
            values: vec!["gold".to_owned(), "7".to_owned()],
        },
    ];
    let spec = Spec::new("p").at("a", &["x"]).otherwise("10%");
    let spec = spec.rules(conditions);
    assert_eq!(
        digest(std::slice::from_ref(&spec)),
        "20607c39998437e748675cd0ee4e82c4"
    );
    assert_eq!(
        digest(&[spec.clone().percent(5)]),
        digest(std::slice::from_ref(&spec))
    );
    assert_eq!(
        digest(&[]),
        digest(&[spec.clone().tail_only().namespace("other")])
    );
    let others = [
        vec![],
        vec![spec.clone().otherwise("11%")],
        vec![spec.clone().rules(vec![])],
        vec![Spec::new("q").at("a", &["x"]).otherwise("10%")],
        vec![Spec::new("p").at("a", &["y"]).otherwise("10%")],
        vec![Spec::new("p").at("a", &[]).otherwise("10%")],
        vec![Spec::new("p").otherwise("10%")],
        vec![spec.clone(), Spec::new("q").otherwise("10%")],
    ];
    for other in &others {
        assert_ne!(
            digest(other),
            digest(std::slice::from_ref(&spec)),
            "{other:?}"
        );
    }
}
