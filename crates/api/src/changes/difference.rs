//! The effect of a policy change on the services.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use spoor_policy::{
    Namespace, OperationName, Part, Policy, PolicyKey, PolicyName, Resolution, RuleCondition,
    ServiceName, Setting, TailPolicy, message::shortened,
};

use super::{Difference, PlaceSetting};

/// The most characters of a setting that are shown. Tail rules may contain half a megabyte of text,
/// and the policy may decide at thousands of places.
const MAX_SETTING_CHARS: usize = 500;

/// A place at which one policy decides: namespace, service and operation (`None` for all others),
/// and the part of the decision.
type Place = (Namespace, Option<ServiceName>, Option<OperationName>, Part);

/// All places at which two resolutions of policies differ.
#[must_use]
pub fn differences(
    before: (&[Policy], &Resolution),
    after: (&[Policy], &Resolution),
) -> Vec<Difference> {
    let (before, after) = (settings(before.0, before.1), settings(after.0, after.1));
    let places: BTreeSet<&Place> = before.keys().chain(after.keys()).collect();
    let changed = |place: &&Place| before.get(*place) != after.get(*place);
    let shown = |at: Option<&(PolicyName, Arc<str>)>| {
        at.map(|(policy, setting)| PlaceSetting {
            policy: policy.to_string(),
            setting: shortened(setting, MAX_SETTING_CHARS).into_owned(),
        })
    };
    let difference = |place: &Place| {
        let (namespace, service, operation, part) = place;
        Difference {
            namespace: namespace.to_string(),
            service: service.as_ref().map(ServiceName::to_string),
            operation: operation.as_ref().map(OperationName::to_string),
            part: part.to_string(),
            before: shown(before.get(place)),
            after: shown(after.get(place)),
        }
    };
    places.into_iter().filter(changed).map(difference).collect()
}

/// Describes in one line what a tail policy keeps.
fn describe_tail(tail: &TailPolicy) -> String {
    let rules = tail.keep().iter().map(|rule| match &rule.condition {
        RuleCondition::Error => "errors".to_owned(),
        RuleCondition::SlowerThan(limit) => format!("slower than {limit:?}"),
        RuleCondition::Attribute { key, values } => format!("{key}={}", values.join("|")),
    });
    let rest = format!("{} of the rest", tail.otherwise());
    let kept: Vec<String> = rules.chain([rest]).collect();
    format!("keep {}", kept.join(", "))
}

/// The policy that decides at each place, with its whole setting.
fn settings(
    policies: &[Policy],
    resolution: &Resolution,
) -> BTreeMap<Place, (PolicyName, Arc<str>)> {
    let by_key: BTreeMap<&PolicyKey, &Policy> = policies
        .iter()
        .map(|policy| (&policy.key, policy))
        .collect();
    let mut settings = BTreeMap::new();
    for (key, outcome) in &resolution.outcomes {
        let tail = by_key.get(key).and_then(|policy| policy.tail.as_ref());
        // Shared by all places of the policy.
        let tail: Arc<str> = tail.map(describe_tail).unwrap_or_default().into();
        for effective in &outcome.effective {
            let (part, setting): (Part, Arc<str>) = match &effective.setting {
                Setting::Head(strategy) => (Part::Head, strategy.to_string().into()),
                Setting::Tail { .. } => (Part::Tail, Arc::clone(&tail)),
            };
            let place = (
                key.namespace.clone(),
                effective.service.clone(),
                effective.operation.clone(),
                part,
            );
            settings.insert(place, (key.name.clone(), setting));
        }
    }
    settings
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use spoor_policy::{Rule, RuleName};

    use super::*;

    #[test]
    fn tail_is_described_by_its_conditions() {
        let gold = RuleCondition::Attribute {
            key: "customer.tier".parse().unwrap(),
            values: vec!["gold".to_owned(), "7".to_owned()],
        };
        let slow = RuleCondition::SlowerThan(Duration::from_millis(500));
        let rule = |(at, condition)| Rule {
            name: RuleName::new(format!("r{at}")).unwrap(),
            condition,
        };
        let rules = [RuleCondition::Error, slow, gold].into_iter().enumerate();
        let tail = TailPolicy::new(rules.map(rule).collect(), "10%".parse().unwrap()).unwrap();
        let expected = "keep errors, slower than 500ms, customer.tier=gold|7, 10% of the rest";
        assert_eq!(describe_tail(&tail), expected);
    }
}
