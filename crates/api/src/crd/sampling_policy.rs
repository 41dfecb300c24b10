//! Validation rules and printer columns of `SamplingPolicy`.

use serde_json::Value;
use spoor_policy::{AttributeKey, OperationName, RuleCondition, ServiceName};

use super::{Rule, age, column, condition, message};
use crate::{KeepRule, formats, problem, status::Condition};

pub(super) fn rules() -> Vec<Rule> {
    let mut rules = vec![
        Rule::new("spec", "has(self.head) || has(self.tail)", problem::NO_PART),
        Rule::new(
            "spec.head",
            "has(self.probability) || has(self.rateLimit)",
            problem::HEAD_NONE,
        ),
        Rule::new(
            "spec.head",
            "!(has(self.probability) && has(self.rateLimit))",
            problem::HEAD_BOTH,
        ),
        Rule::text("spec.tail.keep[].name", &formats::RULE_NAME),
        Rule::bytes(
            "spec.tail.keep[].attribute.values[]",
            RuleCondition::MAX_VALUE_BYTES,
        ),
    ];
    let problems = [problem::RULE_NONE, problem::RULE_SEVERAL];
    rules.extend(Rule::one_of(
        "spec.tail.keep[]",
        &KeepRule::CONDITIONS,
        problems,
    ));
    rules.extend(Rule::time("spec.expiresAt"));
    for at in ["spec.head.probability", "spec.tail.otherwise"] {
        rules.extend(percentage(at));
    }
    let duration = (RuleCondition::MIN_DURATION, RuleCondition::MAX_DURATION);
    rules.extend(Rule::duration("spec.tail.keep[].slowerThan", duration));
    for (at, max) in [
        ("spec.targets[].service", ServiceName::MAX_BYTES),
        ("spec.targets[].operations[]", OperationName::MAX_BYTES),
        ("spec.tail.keep[].attribute.key", AttributeKey::MAX_BYTES),
    ] {
        rules.extend(Rule::printable(at, max));
    }
    rules
}

/// The same rules as in [`spoor_policy::Probability`]. Each is checked only if the ones before it
/// hold, so that there is one message.
fn percentage(at: &str) -> [Rule; 3] {
    let number = "self.matches(r'^-?[0-9]+([.][0-9]+)?%$')";
    let in_range = "self.matches(r'^(0*[0-9]{1,2}([.][0-9]+)?|0*100([.]0+)?)%$')";
    let fine = "self.matches(r'^[0-9]+([.][0-9]{1,4}0*)?%$')";
    [
        Rule::new(
            at,
            number,
            "must be a percentage such as \"1%\" or \"0.1%\"",
        ),
        Rule::new(
            at,
            format!("!{number} || {in_range}"),
            "must be from \"0%\" to \"100%\"",
        ),
        Rule::new(
            at,
            format!("!{in_range} || {fine}"),
            "must have at most 4 decimal places (\"0.0001%\" is the smallest step)",
        ),
    ]
}

pub(super) fn columns() -> Vec<Value> {
    vec![
        column("Strategy", ".status.summary.strategy", false),
        column("Clients", ".status.summary.clients", false),
        column("Observed", ".status.summary.observed", false),
        column("Tail", ".status.summary.tail", true),
        condition(Condition::CONVERGED, false),
        condition(Condition::ACCEPTED, true),
        condition(Condition::PROGRAMMED, true),
        message(Condition::CONVERGED),
        column("Priority", ".spec.priority", true),
        column("Expires", ".spec.expiresAt", true),
        age(),
    ]
}
