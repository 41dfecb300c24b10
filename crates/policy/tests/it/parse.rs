//! Validation of strings and numbers, and the messages for invalid ones.

use proptest::prelude::*;
use rstest::rstest;
use spoor_policy::{
    InvalidTail, Namespace, OperationName, OwnedTailPlace, PolicyName, Probability, Rule,
    RuleCondition, RuleName, ServiceName, TailPolicy, TailTable, Threshold, TracesPerSecond,
};

#[rstest]
#[case("0%", 0)]
#[case("0.0001%", 1)]
#[case("0.1%", 1_000)]
#[case("1%", 10_000)]
#[case("1.50%", 15_000)]
#[case("33.3333%", 333_333)]
#[case("99.9999%", 999_999)]
#[case("100%", 1_000_000)]
#[case("100.0000000%", 1_000_000)]
fn reads_percentages(#[case] text: &str, #[case] millionths: u32) {
    assert_eq!(
        text.parse::<Probability>().unwrap().millionths(),
        millionths
    );
}

#[rstest]
#[case("", "must be a percentage such as \"1%\" or \"0.1%\", not \"\"")]
#[case("1", "must be a percentage such as \"1%\" or \"0.1%\", not \"1\"")]
#[case("%", "must be a percentage such as \"1%\" or \"0.1%\", not \"%\"")]
#[case("1 %", "must be a percentage such as \"1%\" or \"0.1%\", not \"1 %\"")]
#[case(".5%", "must be a percentage such as \"1%\" or \"0.1%\", not \".5%\"")]
#[case(
    "1e2%",
    "must be a percentage such as \"1%\" or \"0.1%\", not \"1e2%\""
)]
#[case("+1%", "must be a percentage such as \"1%\" or \"0.1%\", not \"+1%\"")]
#[case("-1%", "must be from \"0%\" to \"100%\", not \"-1%\"")]
#[case("100.0001%", "must be from \"0%\" to \"100%\", not \"100.0001%\"")]
#[case("150%", "must be from \"0%\" to \"100%\", not \"150%\"")]
#[case(
    "99999999999%",
    "must be from \"0%\" to \"100%\", not \"99999999999%\""
)]
#[case(
    "0.00001%",
    "must have at most 4 decimal places (\"0.0001%\" is the smallest step), not \"0.00001%\""
)]
fn rejects_invalid_percentages(#[case] text: &str, #[case] message: &str) {
    assert_eq!(
        text.parse::<Probability>().unwrap_err().to_string(),
        message
    );
}

#[rstest]
#[case("100%", "0")]
#[case("50%", "8")]
#[case("25%", "c")]
#[case("12.5%", "e")]
#[case("1%", "fd70a3d70a3d7")]
fn thresholds_omit_trailing_zeros(#[case] probability: Probability, #[case] text: &str) {
    assert_eq!(probability.threshold().to_string(), text);
}

#[rstest]
#[case(PolicyName::new("a.b-c").is_ok())]
#[case(PolicyName::new("A").is_err())]
#[case(PolicyName::new("a..b").is_err())]
#[case(PolicyName::new("-a").is_err())]
#[case(PolicyName::new("a".repeat(254)).is_err())]
#[case(Namespace::new("team-1").is_ok())]
#[case(Namespace::new("a.b").is_err())]
#[case(RuleName::new("slow").is_ok())]
#[case(RuleName::new("").is_err())]
#[case(OperationName::new("GET /items/{id}").is_ok())]
#[case(OperationName::new("a\nb").is_err())]
#[case(ServiceName::new("Service B").is_ok())]
#[case(ServiceName::new("a".repeat(253)).is_ok())]
#[case(ServiceName::new("ä".repeat(127)).is_err())]
#[case(TracesPerSecond::new(0).is_err())]
#[case(TracesPerSecond::new(1_000_000).is_ok())]
#[case(TracesPerSecond::new(1_000_001).is_err())]
fn names_and_rates_are_validated(#[case] is_expected: bool) {
    assert!(is_expected);
}

#[test]
fn rate_is_divided_among_instances() {
    let rate = TracesPerSecond::new(10).unwrap();
    assert!((rate.share(4) - 2.5).abs() < 1e-12);
    assert_eq!(
        [0, 1, 3, 20].map(|instances| rate.whole_share(instances)),
        [10, 10, 4, 1]
    );
}

fn tail(conditions: Vec<RuleCondition>) -> Result<TailPolicy, InvalidTail> {
    let rule = |(at, condition)| Rule {
        name: RuleName::new(format!("r{at}")).unwrap(),
        condition,
    };
    TailPolicy::new(
        conditions.into_iter().enumerate().map(rule).collect(),
        Probability::NEVER,
    )
}

#[rstest]
#[case::too_many(vec![RuleCondition::Error; 33], "must have at most 32 rules, not 33")]
#[case::too_short(
    vec![RuleCondition::SlowerThan(std::time::Duration::ZERO)],
    "rule \"r0\": must be from 1ms to 1h, not 0ns"
)]
#[case::no_values(
    vec![RuleCondition::Attribute { key: "k".parse().unwrap(), values: vec![] }],
    "rule \"r0\": must have at least one value"
)]
#[case::long_value(
    vec![RuleCondition::Attribute { key: "k".parse().unwrap(), values: vec!["v".repeat(257)] }],
    "rule \"r0\": must have values of at most 256 bytes, not 257"
)]
fn rejects_conditions_beyond_limits(#[case] conditions: Vec<RuleCondition>, #[case] message: &str) {
    assert_eq!(tail(conditions).unwrap_err().to_string(), message);
}

proptest! {
    #[test]
    fn probability_round_trips(millionths in 0u32..=1_000_000) {
        let probability = Probability::from_millionths(millionths).unwrap();
        prop_assert_eq!(probability.to_string().parse(), Ok(probability));
    }

    #[test]
    fn any_string_is_parsed_or_rejected(text in ".{0,80}") {
        if let Ok(probability) = text.parse::<Probability>() {
            prop_assert!(probability <= Probability::ALWAYS);
        }
        if let Ok(name) = text.parse::<PolicyName>() {
            prop_assert_eq!(name.as_str(), text);
        }
    }

    #[test]
    fn percent_like_strings_agree_with_floats(text in "[0-9]{1,3}(\\.[0-9]{1,6})?") {
        let number: f64 = text.parse().unwrap();
        match format!("{text}%").parse::<Probability>() {
            Ok(probability) => prop_assert!((probability.as_f64() * 100.0 - number).abs() < 1e-9),
            Err(_) => {
                let digits = text.split_once('.').map_or("", |(_, digits)| digits);
                prop_assert!(number > 100.0 || digits.trim_end_matches('0').len() > 4);
            }
        }
    }

    #[test]
    fn threshold_keeps_its_share(millionths in 0u32..=1_000_000, randomness in 0..Threshold::END) {
        let probability = Probability::from_millionths(millionths).unwrap();
        let threshold = probability.threshold();
        let kept = (Threshold::END - threshold.value()) as f64 / Threshold::END as f64;
        prop_assert!((kept - probability.as_f64()).abs() < 1e-15);
        prop_assert_eq!(threshold.keeps(randomness), randomness >= threshold.value());
    }
}

#[rstest]
#[case::namespace_twice(
    [(OwnedTailPlace::Namespace, "a", "1%"), (OwnedTailPlace::Namespace, "b", "1%")],
    "duplicate place (every service); list it once"
)]
#[case::service_twice(
    [(at_service(), "a", "1%"), (at_service(), "a", "1%")],
    "duplicate place (shop); list it once"
)]
#[case::operation_twice(
    [(at_operation(), "a", "1%"), (at_operation(), "b", "1%")],
    "duplicate place (operation \"GET /\" of shop); list it once"
)]
#[case::different_rules(
    [(at_service(), "a", "1%"), (at_operation(), "a", "2%")],
    "policy \"a\" has different rules at different places; make them the same"
)]
fn rejects_invalid_tail_tables(
    #[case] places: [(OwnedTailPlace, &str, &str); 2],
    #[case] message: &str,
) {
    let places = places.map(|(place, name, otherwise)| {
        let policy = TailPolicy::new(vec![], otherwise.parse().unwrap()).unwrap();
        (place, PolicyName::new(name).unwrap(), policy)
    });
    let table = TailTable::new(Namespace::default(), places);
    assert_eq!(table.unwrap_err().to_string(), message);
}

fn at_service() -> OwnedTailPlace {
    OwnedTailPlace::Service(ServiceName::new("shop").unwrap())
}

fn at_operation() -> OwnedTailPlace {
    let operation = OperationName::new("GET /").unwrap();
    OwnedTailPlace::Operation(ServiceName::new("shop").unwrap(), operation)
}
