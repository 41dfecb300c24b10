//! The effect of a change of policies on the services.

use std::collections::BTreeMap;

use spoor_policy::{
    Effective, Namespace, OperationName, Policy, PolicyKey, Resolution, RuleCondition, ServiceName,
    Setting, TailPolicy,
};

use crate::wire::{Difference, PlaceSetting};

/// A place at which one policy decides: namespace, service and operation (`None` for all others),
/// and the part of the decision.
type Place = (Namespace, Option<ServiceName>, Option<OperationName>, Part);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Head,
    Tail,
}

/// All places at which the two resolutions differ.
pub(super) fn differences(
    before: (&[Policy], &Resolution),
    after: (&[Policy], &Resolution),
) -> Vec<Difference> {
    let (mut before, mut after) = (settings(before.0, before.1), settings(after.0, after.1));
    // A place that stays the same leaves both maps.
    before.retain(|place, setting| match after.get(place) {
        Some(now) if now == setting => after.remove(place).is_none(),
        _ => true,
    });
    let mut places: BTreeMap<Place, (Option<PlaceSetting>, Option<PlaceSetting>)> = BTreeMap::new();
    for (place, setting) in before {
        places.entry(place).or_default().0 = Some(setting);
    }
    for (place, setting) in after {
        places.entry(place).or_default().1 = Some(setting);
    }
    type Sides = (Option<PlaceSetting>, Option<PlaceSetting>);
    let difference = |((namespace, service, operation, part), sides): (Place, Sides)| Difference {
        namespace: namespace.to_string(),
        service: service.as_ref().map(ServiceName::to_string),
        operation: operation.as_ref().map(OperationName::to_string),
        part: if part == Part::Head {
            "head".into()
        } else {
            "tail".into()
        },
        before: sides.0,
        after: sides.1,
    };
    places.into_iter().map(difference).collect()
}

/// Describes in one line what a tail policy keeps.
pub(super) fn describe_tail(tail: &TailPolicy) -> String {
    let rules = tail.keep().iter().map(|rule| match &rule.condition {
        RuleCondition::Error => "errors".to_owned(),
        RuleCondition::SlowerThan(limit) => format!("slower than {limit:?}"),
        RuleCondition::Attribute { key, values } => format!("{key}={}", values.join("|")),
    });
    let rest = format!("{} of the rest", tail.otherwise());
    format!(
        "keep {}",
        rules.chain([rest]).collect::<Vec<_>>().join(", ")
    )
}

fn settings(policies: &[Policy], resolution: &Resolution) -> BTreeMap<Place, PlaceSetting> {
    let by_key: BTreeMap<&PolicyKey, &Policy> = policies
        .iter()
        .map(|policy| (policy.key(), policy))
        .collect();
    let mut settings = BTreeMap::new();
    for (key, outcome) in &resolution.outcomes {
        for Effective {
            service,
            operation,
            setting,
        } in &outcome.effective
        {
            let (part, setting) = match setting {
                Setting::Head(strategy) => (Part::Head, strategy.to_string()),
                Setting::Tail { otherwise } => {
                    let tail = by_key.get(key).and_then(|policy| policy.tail());
                    let setting = tail.map_or_else(|| otherwise.to_string(), describe_tail);
                    (Part::Tail, setting)
                }
            };
            let place = (
                key.namespace.clone(),
                service.clone(),
                operation.clone(),
                part,
            );
            settings.insert(
                place,
                PlaceSetting {
                    policy: key.name.to_string(),
                    setting,
                },
            );
        }
    }
    settings
}
