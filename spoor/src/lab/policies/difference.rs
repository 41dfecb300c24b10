//! What a change of policies changes for the services.

use std::collections::BTreeMap;

use spoor_policy::{
    Effective, Namespace, OperationName, Policy, PolicyKey, Resolution, RuleCondition, ServiceName,
    Setting, TailPolicy,
};

use crate::lab::admin::{Difference, Says};

/// A place that policies decide about: namespace, service (none: all others), operation (none:
/// all others), and the part of the decision.
type Place = (Namespace, Option<ServiceName>, Option<OperationName>, Part);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Head,
    Tail,
}

/// Every place where the two do not say the same.
pub(super) fn differences(
    before: (&[Policy], &Resolution),
    after: (&[Policy], &Resolution),
) -> Vec<Difference> {
    let (mut before, mut after) = (said(before.0, before.1), said(after.0, after.1));
    before.retain(|place, said| match after.get(place) {
        Some(now) if now == said => after.remove(place).is_none(),
        _ => true,
    });
    let mut places: BTreeMap<Place, (Option<Says>, Option<Says>)> = BTreeMap::new();
    for (place, said) in before {
        places.entry(place).or_default().0 = Some(said);
    }
    for (place, said) in after {
        places.entry(place).or_default().1 = Some(said);
    }
    type Sides = (Option<Says>, Option<Says>);
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

/// What a tail policy keeps, in a line.
pub(super) fn tail_in_words(tail: &TailPolicy) -> String {
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

fn said(policies: &[Policy], resolution: &Resolution) -> BTreeMap<Place, Says> {
    let by_key: BTreeMap<&PolicyKey, &Policy> = policies
        .iter()
        .map(|policy| (policy.key(), policy))
        .collect();
    let mut said = BTreeMap::new();
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
                    let words = tail.map_or_else(|| otherwise.to_string(), tail_in_words);
                    (Part::Tail, words)
                }
            };
            let place = (
                key.namespace.clone(),
                service.clone(),
                operation.clone(),
                part,
            );
            said.insert(
                place,
                Says {
                    policy: key.name.to_string(),
                    setting,
                },
            );
        }
    }
    said
}
