//! Resolves all policies into one table and an outcome for each.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::{
    Acceptance, Namespace, Outcome, Part, Policy, PolicyKey, PolicyTable, TailTable, outcomes,
    ranking::{NamespaceRankings, Ranking, precedence},
    succession,
    tail::{NamedTail, NamespaceTail, ServiceTail},
};

/// The result of resolving all policies at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolution {
    /// The head strategies.
    pub table: PolicyTable,
    /// The tail policies.
    pub tail: TailTable,
    /// The outcome for each policy.
    pub outcomes: BTreeMap<PolicyKey, Outcome>,
    /// The time of the next expiry, at which policies must be resolved again.
    pub next_expiry: Option<Timestamp>,
}

/// Resolves all policies at a moment. Their order does not matter; their keys must differ.
///
/// Operations win over services, and services over namespaces. Among equally specific policies, the
/// highest priority wins, then the oldest, then the first in alphabetical order. Head and tail are
/// resolved separately.
#[must_use]
pub fn resolve(policies: &[Policy], now: Timestamp) -> Resolution {
    let mut resolution = Resolution::default();
    let mut namespaces: BTreeMap<&Namespace, Vec<&Policy>> = BTreeMap::new();
    for policy in policies {
        match policy.expires_at {
            // A policy is no longer in force at its `expiresAt` itself, the instant at which plans
            // begin their next phase.
            Some(end) if end <= now => {
                let key = policy.key.clone();
                resolution.outcomes.insert(key, expired(end));
            }
            end => {
                let namespace = &policy.key.namespace;
                namespaces.entry(namespace).or_default().push(policy);
                let next = [resolution.next_expiry, end];
                resolution.next_expiry = next.into_iter().flatten().min();
            }
        }
    }
    for (namespace, mut live) in namespaces {
        // Sorted once here, so that the policies for each place are in order without comparing
        // again.
        live.sort_by_key(|policy| precedence(policy));
        let rankings = NamespaceRankings::of(&live);
        let keys = live.iter().map(|policy| policy.key.clone());
        let outcomes = keys.zip(outcomes::of(&live, &rankings));
        resolution.outcomes.extend(outcomes);
        let (table, plans) = (&mut resolution.table, succession::plans(&rankings));
        table.namespaces.insert(namespace.clone(), plans);
        let tail = tails(&rankings);
        // Without an empty entry, so that the table is empty when there are no tail rules.
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

fn tails(rankings: &NamespaceRankings<'_>) -> NamespaceTail {
    let services = rankings
        .services_with(Part::Tail)
        .map(|(service, of_service)| {
            let operations = of_service.operations.iter();
            let tail = ServiceTail {
                operations: operations
                    .filter_map(|(operation, own)| Some(((*operation).clone(), tail(own)?)))
                    .collect(),
                others: tail(&of_service.others),
            };
            (service.clone(), tail)
        });
    NamespaceTail {
        services: services.collect(),
        others: tail(&rankings.others),
    }
}

fn tail(ranking: &Ranking<'_>) -> Option<NamedTail> {
    let winner = ranking.winner(Part::Tail)?.policy;
    Some((winner.key.name.clone(), winner.tail.clone()?))
}
