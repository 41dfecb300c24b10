//! The effect of a change of policies on the services.

use std::collections::{BTreeMap, BTreeSet};

use spoor_policy::{
    Namespace, OperationName, Part, Policy, PolicyKey, Resolution, RuleCondition, ServiceName,
    Setting, TailPolicy,
};

use crate::wire::{Difference, PlaceSetting};

/// A place at which one policy decides: namespace, service and operation (`None` for all others),
/// and the part of the decision.
type Place = (Namespace, Option<ServiceName>, Option<OperationName>, Part);

/// All places at which the two resolutions differ.
pub(super) fn differences(
    before: (&[Policy], &Resolution),
    after: (&[Policy], &Resolution),
) -> Vec<Difference> {
    let (before, after) = (settings(before.0, before.1), settings(after.0, after.1));
    let places: BTreeSet<&Place> = before.keys().chain(after.keys()).collect();
    let changed = |place: &&Place| before.get(*place) != after.get(*place);
    let difference = |place: &Place| {
        let (namespace, service, operation, part) = place;
        Difference {
            namespace: namespace.to_string(),
            service: service.as_ref().map(ServiceName::to_string),
            operation: operation.as_ref().map(OperationName::to_string),
            part: part.to_string(),
            before: before.get(place).cloned(),
            after: after.get(place).cloned(),
        }
    };
    places.into_iter().filter(changed).map(difference).collect()
}

/// Describes in one line what a tail policy keeps.
pub(super) fn describe_tail(tail: &TailPolicy) -> String {
    let rules = tail.keep().iter().map(|rule| match &rule.condition {
        RuleCondition::Error => "errors".to_owned(),
        RuleCondition::SlowerThan(limit) => format!("slower than {limit:?}"),
        RuleCondition::Attribute { key, values } => format!("{key}={}", values.join("|")),
    });
    let rest = format!("{} of the rest", tail.otherwise());
    let kept: Vec<String> = rules.chain([rest]).collect();
    format!("keep {}", kept.join(", "))
}

fn settings(policies: &[Policy], resolution: &Resolution) -> BTreeMap<Place, PlaceSetting> {
    let by_key: BTreeMap<&PolicyKey, &Policy> = policies
        .iter()
        .map(|policy| (&policy.key, policy))
        .collect();
    let mut settings = BTreeMap::new();
    for (key, outcome) in &resolution.outcomes {
        for effective in &outcome.effective {
            let (part, setting) = match &effective.setting {
                Setting::Head(strategy) => (Part::Head, strategy.to_string()),
                Setting::Tail { otherwise } => {
                    let tail = by_key.get(key).and_then(|policy| policy.tail.as_ref());
                    let setting = tail.map_or_else(|| otherwise.to_string(), describe_tail);
                    (Part::Tail, setting)
                }
            };
            let place = (
                key.namespace.clone(),
                effective.service.clone(),
                effective.operation.clone(),
                part,
            );
            let policy = key.name.to_string();
            settings.insert(place, PlaceSetting { policy, setting });
        }
    }
    settings
}
