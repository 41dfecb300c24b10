//! Where a policy decides, and what it says there.

use spoor_api::status as api;
use spoor_policy::{Outcome, Policy, Setting};

/// Head and tail, such as `1%` or `100% + tail 10%`.
pub(crate) fn strategy(policy: &Policy) -> String {
    let head = policy.head().map(|head| head.to_string());
    let tail = policy
        .tail()
        .map(|tail| format!("tail {}", tail.otherwise()));
    head.into_iter().chain(tail).collect::<Vec<_>>().join(" + ")
}

pub(crate) fn effective(outcome: &Outcome) -> Vec<api::Effective> {
    let strategy = |setting: &Setting| match setting {
        Setting::Head(strategy) => strategy.to_string(),
        Setting::Tail { otherwise } => format!("tail, otherwise {otherwise}"),
    };
    let places = outcome.effective.iter().map(|place| api::Effective {
        service: place.service.as_ref().map(ToString::to_string),
        operation: place.operation.as_ref().map(ToString::to_string),
        strategy: strategy(&place.setting),
    });
    places.collect()
}

pub(crate) fn overridden(outcome: &Outcome) -> Vec<api::Overridden> {
    let places = outcome.overridden.iter().map(|place| api::Overridden {
        service: place.service.as_ref().map(ToString::to_string),
        operation: place.operation.as_ref().map(ToString::to_string),
        by: place.by.to_string(),
    });
    places.collect()
}
