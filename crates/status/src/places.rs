//! The places where a policy decides, and its strategy there.

use spoor_api::status as api;
use spoor_policy::{Outcome, Policy, Setting};

/// The most places in a list of a status. The schema allows no more.
const MAX_PLACES: usize = 256;

/// Notes on truncated lists of places, each a sentence without a full stop.
pub(crate) fn truncation_notes(outcome: &Outcome) -> impl Iterator<Item = String> {
    let lists = [
        ("effective", outcome.effective.len()),
        ("overridden", outcome.overridden.len()),
    ];
    let long = lists.into_iter().filter(|(_, len)| *len > MAX_PLACES);
    long.map(|(list, len)| format!("status.{list} lists {MAX_PLACES} of {len} places"))
}

/// The head and tail strategy, such as `1%` or `100% + tail rules, otherwise 10%`.
pub(crate) fn strategy(policy: &Policy) -> String {
    let head = policy.head.map(|head| head.to_string());
    let tail = policy.tail.as_ref();
    let tail = tail.map(|tail| format!("tail rules, otherwise {}", tail.otherwise()));
    head.into_iter().chain(tail).collect::<Vec<_>>().join(" + ")
}

pub(crate) fn effective(outcome: &Outcome) -> Vec<api::EffectivePlace> {
    let strategy = |setting: &Setting| match setting {
        Setting::Head(strategy) => strategy.to_string(),
        Setting::Tail { otherwise } => format!("tail rules, otherwise {otherwise}"),
    };
    let places = outcome.effective.iter().take(MAX_PLACES);
    let places = places.map(|place| api::EffectivePlace {
        service: place.service.as_ref().map(ToString::to_string),
        operation: place.operation.as_ref().map(ToString::to_string),
        strategy: strategy(&place.setting),
    });
    places.collect()
}

pub(crate) fn overridden(outcome: &Outcome) -> Vec<api::OverriddenPlace> {
    // With more places, the API server would refuse the entire status.
    let places = outcome.overridden.iter().take(MAX_PLACES);
    let places = places.map(|place| api::OverriddenPlace {
        service: place.service.as_ref().map(ToString::to_string),
        operation: place.operation.as_ref().map(ToString::to_string),
        by: place.by.to_string(),
    });
    places.collect()
}
