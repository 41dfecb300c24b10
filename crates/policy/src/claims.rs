//! Who wants to decide where, winners first.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    ops::Bound::{Excluded, Unbounded},
};

use jiff::Timestamp;

use crate::{OperationName, Policy, PolicyKey, ServiceName};

/// Where a policy may claim to decide: the service (none: all), the operation (none: all). All
/// places inside a service follow it in the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place<'a> {
    pub(crate) service: Option<&'a ServiceName>,
    pub(crate) operation: Option<&'a OperationName>,
}

/// The claims to one part of the decisions in one namespace.
#[derive(Default)]
pub(crate) struct Claims<'a>(BTreeMap<Place<'a>, Vec<&'a Policy>>);

impl<'a> Claims<'a> {
    /// Takes the policies in the order of their [`rank`].
    pub(crate) fn of(ranked: impl IntoIterator<Item = &'a Policy>) -> Self {
        let mut claims: BTreeMap<Place<'a>, Vec<&'a Policy>> = BTreeMap::new();
        for policy in ranked {
            for place in places(policy) {
                claims.entry(place).or_default().push(policy);
            }
        }
        Self(claims)
    }

    /// All that claim a place, winners first. What is claimed around it is not asked.
    pub(crate) fn at(&self, place: Place<'a>) -> &[&'a Policy] {
        self.0.get(&place).map_or(&[], Vec::as_slice)
    }

    /// The places with a claim, each with its claims.
    pub(crate) fn all(&self) -> impl Iterator<Item = (Place<'a>, &[&'a Policy])> {
        self.0
            .iter()
            .map(|(place, claims)| (*place, claims.as_slice()))
    }

    /// The winners of places inside this one.
    pub(crate) fn inside(&self, outer: Place<'a>) -> impl Iterator<Item = (Place<'a>, &'a Policy)> {
        self.0
            .range((Excluded(outer), Unbounded))
            .take_while(move |(place, _)| {
                outer.operation.is_none()
                    && (outer.service.is_none() || place.service == outer.service)
            })
            .filter_map(|(place, claims)| claims.first().map(|winner| (*place, *winner)))
    }
}

/// Sorts winners first, among policies that claim the same place.
pub(crate) fn rank(policy: &Policy) -> (Reverse<i32>, Timestamp, &PolicyKey) {
    (Reverse(policy.priority()), policy.created(), policy.key())
}

/// The places that a policy asks for.
pub(crate) fn places(policy: &Policy) -> Vec<Place<'_>> {
    if policy.targets().is_empty() {
        return vec![Place {
            service: None,
            operation: None,
        }];
    }
    let mut places = vec![];
    for target in policy.targets() {
        let service = Some(&target.service);
        if target.operations.is_empty() {
            places.push(Place {
                service,
                operation: None,
            });
        }
        let operations = target.operations.iter();
        places.extend(operations.map(|operation| Place {
            service,
            operation: Some(operation),
        }));
    }
    places
}
