//! All policies in; one table, and what became of each policy, out.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::{
    Acceptance, Namespace, Outcome, Policy, PolicyKey, Table, TailTable,
    claims::{Claims, rank},
    outcome::Parts,
    succession,
    tail::{NamespaceTail, ServiceTail},
};

/// What all policies together mean at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolution {
    /// The head strategies.
    pub table: Table,
    /// The tail policies.
    pub tail: TailTable,
    /// What became of each policy.
    pub outcomes: BTreeMap<PolicyKey, Outcome>,
    /// When to resolve again.
    pub next_expiry: Option<Timestamp>,
}

/// Resolves all policies at a moment. Their order does not matter; their keys must differ.
///
/// Operation before service before namespace; then the higher priority, the older, the first by
/// name. Head and tail are resolved apart.
#[must_use]
pub fn resolve(policies: &[Policy], now: Timestamp) -> Resolution {
    let mut resolution = Resolution::default();
    let mut namespaces: BTreeMap<&Namespace, Vec<&Policy>> = BTreeMap::new();
    for policy in policies {
        match policy.expires_at() {
            Some(end) if end <= now => {
                resolution
                    .outcomes
                    .insert(policy.key().clone(), expired(end));
            }
            end => {
                namespaces
                    .entry(&policy.key().namespace)
                    .or_default()
                    .push(policy);
                let next = [resolution.next_expiry, end];
                resolution.next_expiry = next.into_iter().flatten().min();
            }
        }
    }
    for (namespace, mut live) in namespaces {
        live.sort_by_key(|policy| rank(policy));
        let parts = Parts::of(&live);
        let outcomes = live
            .iter()
            .map(|policy| (policy.key().clone(), parts.outcome(policy)));
        resolution.outcomes.extend(outcomes);
        resolution
            .table
            .namespaces
            .insert(namespace.clone(), succession::plans(&parts.head));
        let tail = tail_policies(&parts.tail);
        if tail != NamespaceTail::default() {
            resolution.tail.namespaces.insert(namespace.clone(), tail);
        }
    }
    resolution
}

fn expired(end: Timestamp) -> Outcome {
    Outcome {
        acceptance: Acceptance::Expired(end),
        effective: vec![],
        overridden: vec![],
        warnings: vec![],
    }
}

fn tail_policies(claims: &Claims<'_>) -> NamespaceTail {
    let mut of_namespace = NamespaceTail::default();
    for (place, ranked) in claims.all() {
        let Some(winner) = ranked.first() else {
            continue;
        };
        let Some(tail) = winner.tail() else { continue };
        let entry = (winner.key().name.clone(), tail.clone());
        let of_service: &mut ServiceTail = match place.service {
            Some(service) => of_namespace.services.entry(service.clone()).or_default(),
            None => &mut of_namespace.otherwise,
        };
        match place.operation {
            Some(operation) => {
                of_service.operations.insert(operation.clone(), entry);
            }
            None => of_service.otherwise = Some(entry),
        }
    }
    of_namespace
}
