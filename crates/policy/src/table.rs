//! The head strategies of all services, now and after each known expiry.

use std::{collections::BTreeMap, hash::Hash};

use jiff::Timestamp;
use xxhash_rust::xxh3::Xxh3Default;

use crate::{Digest, Namespace, OperationName, PolicyName, ServiceName, Strategy};

/// The head strategies of all services.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyTable {
    pub(crate) namespaces: BTreeMap<Namespace, NamespacePlans>,
    pub(crate) empty: Plan,
}

/// A namespace's part of a [`PolicyTable`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NamespacePlans {
    /// The plans of services that a policy with a head names.
    pub(crate) services: BTreeMap<ServiceName, Plan>,
    /// The plan of all others.
    pub(crate) others: Plan,
}

/// The head strategies of one service over time. There is at least one phase, and the last has no
/// end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub(crate) phases: Vec<PolicyPhase>,
}

/// Strategies with the end of their validity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyPhase {
    /// The start of the next phase, or `None` in the last.
    pub until: Option<Timestamp>,
    /// The strategies until then.
    pub strategies: Strategies,
}

/// A service's strategies by the name of the root span.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Strategies {
    /// The strategy for all other operations, or `None` for the service's own default.
    pub default: Option<Assigned>,
    /// The strategies for individual operations.
    pub operations: BTreeMap<OperationName, Assigned>,
}

/// A strategy with its policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assigned {
    /// The strategy.
    pub strategy: Strategy,
    /// The policy that it comes from.
    pub policy: PolicyName,
}

impl PolicyTable {
    /// The plan of a service, whether or not a policy names it.
    #[must_use]
    pub fn plan(&self, namespace: &str, service: &str) -> &Plan {
        match self.namespaces.get(namespace) {
            Some(plans) => plans.services.get(service).unwrap_or(&plans.others),
            None => &self.empty,
        }
    }

    /// The services that policies with a head name.
    pub fn services(&self) -> impl Iterator<Item = (&Namespace, &ServiceName, &Plan)> {
        let namespaces = self.namespaces.iter();
        namespaces.flat_map(|(namespace, plans)| {
            let services = plans.services.iter();
            services.map(move |(service, plan)| (namespace, service, plan))
        })
    }
}

impl Plan {
    /// The phases in chronological order.
    #[must_use]
    pub fn phases(&self) -> &[PolicyPhase] {
        &self.phases
    }

    /// The strategies at a time.
    #[must_use]
    pub fn at(&self, now: Timestamp) -> Option<&Strategies> {
        self.phases
            .iter()
            .find(|phase| phase.until.is_none_or(|until| now < until))
            .map(|phase| &phase.strategies)
    }

    /// The digest of strategies and times, without the policies' names: equal digests mean that
    /// clients behave the same.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut hasher = Xxh3Default::new();
        let next = self.phases.iter().skip(1).map(Some).chain([None]);
        for (phase, next) in self.phases.iter().zip(next) {
            // If only the policies change, clients see no new phase.
            if next.is_some_and(|next| next.strategies.is_equivalent_to(&phase.strategies)) {
                continue;
            }
            phase.until.map(Timestamp::as_nanosecond).hash(&mut hasher);
            let default = phase.strategies.default.as_ref();
            let default = default.map(|assigned| assigned.strategy);
            default.hash(&mut hasher);
            // The length first, so that operations cannot be hashed as those of another phase.
            phase.strategies.operations.len().hash(&mut hasher);
            for (operation, assigned) in &phase.strategies.operations {
                (operation, assigned.strategy).hash(&mut hasher);
            }
        }
        Digest(hasher.digest128())
    }
}

impl Default for Plan {
    /// The service's own default without an end.
    fn default() -> Self {
        Self {
            phases: vec![PolicyPhase::default()],
        }
    }
}

impl Strategies {
    /// The most operations. An instance refuses a plan with more, and keeps the one that it has.
    pub const MAX_OPERATIONS: usize = 4096;

    /// The strategy for a root span with this name, or `None` for the service's own default.
    #[must_use]
    pub fn strategy(&self, operation: &str) -> Option<&Assigned> {
        self.operations.get(operation).or(self.default.as_ref())
    }

    /// True if both have the same strategies, regardless of the policies.
    fn is_equivalent_to(&self, other: &Self) -> bool {
        let strategy = |assigned: &Assigned| assigned.strategy;
        let operations = self.operations.values().map(strategy);
        self.default.as_ref().map(strategy) == other.default.as_ref().map(strategy)
            && self.operations.keys().eq(other.operations.keys())
            && operations.eq(other.operations.values().map(strategy))
    }
}
