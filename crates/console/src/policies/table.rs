//! The table of places: for each service and operation the policy that decides there.

pub(super) mod cells;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use maud::{Markup, html};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use spoor_api::{SamplingPolicy, status::EffectivePlace};

use super::{namespace_of, words};
use crate::{
    history::{History, ObservedPoint, key_of},
    layout::Site,
};

/// The most rows of the table. A page with as many has about 6 MiB.
pub(super) const MAX_ROWS: usize = 2_000;

/// A place with the policy that decides there.
pub(crate) struct Row<'a> {
    /// The element's ID, which depends on the place only.
    pub id: String,
    policy: &'a SamplingPolicy,
    place: &'a EffectivePlace,
    /// True if several namespaces have places.
    shows_namespace: bool,
    /// True if other rows name a service, or an operation of this one, so that this one is for the
    /// rest of them.
    is_rest: bool,
    /// The other policies that apply to the place, sorted.
    overrides: Vec<&'a str>,
    points: Arc<[ObservedPoint]>,
}

/// A namespace, service and operation.
type Place<'a> = (&'a str, Option<&'a str>, Option<&'a str>);

/// The rows of the table, in its order: by namespace, service and operation, and those for the rest of
/// the services last.
pub(crate) fn rows<'a>(policies: &'a [SamplingPolicy], history: &History) -> Vec<Row<'a>> {
    let mut places: Vec<(&SamplingPolicy, &EffectivePlace)> = all_places(policies).collect();
    places.sort_by_cached_key(|&(policy, place)| {
        let (namespace, service, operation) = place_of(policy, place);
        let is_tail = words::is_tail(&place.strategy);
        (namespace, service.is_none(), service, operation, is_tail)
    });
    places.truncate(MAX_ROWS);
    let named = Named::new(&places);
    let overrides = overrides(policies);
    let mut points: HashMap<(&str, &str), Arc<[ObservedPoint]>> = HashMap::new();
    let row = |(policy, place): (&'a SamplingPolicy, &'a EffectivePlace)| {
        let at = place_of(policy, place);
        let (namespace, ..) = at;
        let name = policy.metadata.name.as_str();
        let of_policy = points.entry((namespace, name));
        let points = of_policy.or_insert_with(|| {
            let key = key_of(policy);
            key.map_or_else(Vec::new, |key| history.observed(&key))
                .into()
        });
        let overridden = overrides.get(&(at, name));
        Row {
            id: id(at, words::is_tail(&place.strategy)),
            policy,
            place,
            shows_namespace: named.namespaces.len() > 1,
            is_rest: named.has_others(at),
            overrides: overridden.into_iter().flatten().copied().collect(),
            points: Arc::clone(points),
        }
    };
    places.into_iter().map(row).collect()
}

/// A row as HTML, without a token: the script copies that of the page.
pub(crate) fn row(site: &Site, row: &Row<'_>) -> Markup {
    row_with_token(site, row, "")
}

/// The table with all rows.
pub(super) fn table(site: &Site, rows: &[Row<'_>], token: &str) -> Markup {
    html! {
        div .scroll tabindex="0" role="region" aria-label="Sampling by service and operation" {
            table .table .places {
                thead {
                    tr {
                        th scope="col" { "Service" }
                        th scope="col" { "Operation" }
                        th scope="col" { "Strategy" }
                        th scope="col" { "Policy" }
                        th scope="col" { "Instances" }
                        th scope="col" { "Observed, whole policy" }
                        th scope="col" { "Kept per second" }
                        th scope="col" { "Change rate" }
                    }
                }
                tbody #rows { @for row in rows { (row_with_token(site, row, token)) } }
            }
        }
    }
}

/// The number of places where some policy decides.
pub(super) fn number_of_places(policies: &[SamplingPolicy]) -> usize {
    all_places(policies).count()
}

fn row_with_token(site: &Site, row: &Row<'_>, token: &str) -> Markup {
    html! {
        tr id=(row.id) {
            th scope="row" { (cells::service(row)) }
            td { (cells::operation(row)) }
            td { (cells::strategy(row)) }
            td { (cells::policy(site, row)) }
            td { (cells::instances(row)) }
            td { (cells::observed(row)) }
            td .number { (cells::kept_per_second(row)) }
            td { (cells::rate_form(site, row, token)) }
        }
    }
}

fn all_places(
    policies: &[SamplingPolicy],
) -> impl Iterator<Item = (&SamplingPolicy, &EffectivePlace)> {
    policies.iter().flat_map(|policy| {
        let places = policy.status.iter().flat_map(|status| &status.effective);
        places.map(move |place| (policy, place))
    })
}

fn place_of<'a>(policy: &'a SamplingPolicy, place: &'a EffectivePlace) -> Place<'a> {
    let (service, operation) = (place.service.as_deref(), place.operation.as_deref());
    (namespace_of(policy), service, operation)
}

/// The policies that are overridden, by place and the policy that decides there.
fn overrides(policies: &[SamplingPolicy]) -> HashMap<(Place<'_>, &str), BTreeSet<&str>> {
    let mut overrides: HashMap<_, BTreeSet<&str>> = HashMap::new();
    for policy in policies {
        for place in policy.status.iter().flat_map(|it| &it.overridden) {
            let (service, operation) = (place.service.as_deref(), place.operation.as_deref());
            let at = (namespace_of(policy), service, operation);
            let overridden = overrides.entry((at, place.by.as_str())).or_default();
            overridden.insert(policy.metadata.name.as_str());
        }
    }
    overrides
}

/// The names that rows have.
struct Named<'a> {
    namespaces: HashSet<&'a str>,
    /// The namespaces in which a row names a service.
    with_services: HashSet<&'a str>,
    /// The services of which a row names an operation.
    with_operations: HashSet<(&'a str, Option<&'a str>)>,
}

impl<'a> Named<'a> {
    fn new(places: &[(&'a SamplingPolicy, &'a EffectivePlace)]) -> Self {
        let places = places
            .iter()
            .map(|&(policy, place)| place_of(policy, place));
        let places: Vec<Place<'a>> = places.collect();
        let with_service = places.iter().filter(|(_, service, _)| service.is_some());
        let with_operation = places.iter().filter(|(.., operation)| operation.is_some());
        Self {
            namespaces: places.iter().map(|(namespace, ..)| *namespace).collect(),
            with_services: with_service.map(|(namespace, ..)| *namespace).collect(),
            with_operations: with_operation.map(|(of, name, _)| (*of, *name)).collect(),
        }
    }

    /// Returns whether a place is for the services or operations that other rows do not name.
    fn has_others(&self, (namespace, service, operation): Place<'a>) -> bool {
        match (service, operation) {
            (None, None) => self.with_services.contains(namespace),
            (_, None) => self.with_operations.contains(&(namespace, service)),
            (_, Some(_)) => false,
        }
    }
}

/// The ID of a place's row. Encoded rather than hashed, so that no two places have the same.
fn id((namespace, service, operation): Place<'_>, is_tail: bool) -> String {
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    // Encoded names have no asterisk.
    let or_rest = |name: Option<&str>| name.map_or_else(|| "*".to_owned(), encoded);
    let part = if is_tail { "tail" } else { "head" };
    let (service, operation) = (or_rest(service), or_rest(operation));
    format!("{part}.{}.{service}.{operation}", encoded(namespace))
}

#[cfg(test)]
mod tests;
