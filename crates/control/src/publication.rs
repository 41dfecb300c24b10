//! A resolved table in force.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use jiff::Timestamp;
use spoor_policy::{
    OperationName, Outcome, Plan, PolicyKey, PolicyTable, Resolution, ServiceName, Setting,
    Strategy, TailTable, Version,
};

use crate::{
    counts::{AttributedCounts, PlanEntry},
    instance::ServiceKey,
    served_plan,
};

/// A table at the version of its publication.
pub(crate) struct Publication {
    pub(crate) version: Version,
    pub(crate) at: Instant,
    pub(crate) table: PolicyTable,
    pub(crate) tail: TailPlaces,
    pub(crate) tail_table: TailTable,
    heads: HeadPlaces,
}

/// The places where a policy decides the tail by name: services, and operations of each.
pub(crate) type TailPlaces = BTreeMap<PolicyKey, BTreeMap<ServiceName, BTreeSet<OperationName>>>;

/// The places where a policy decides the head. `None` means all other services, or all other
/// operations of a service.
type HeadPlaces = BTreeMap<PolicyKey, BTreeSet<(Option<ServiceName>, PlanEntry)>>;

impl Publication {
    pub(crate) fn new(resolution: Resolution, version: Version) -> Self {
        Self {
            version,
            at: Instant::now(),
            tail: tail_places(&resolution.outcomes),
            heads: head_places(&resolution.outcomes),
            table: resolution.table,
            tail_table: resolution.tail,
        }
    }

    pub(crate) fn plan(&self, key: &ServiceKey) -> &Plan {
        self.table.plan(key.0.as_str(), key.1.as_str())
    }

    /// True if the policy that these counts of a service are attributed to still decides there.
    pub(crate) fn decides(&self, service: &ServiceKey, attributed: &AttributedCounts) -> bool {
        let Some(strategies) = self.plan(service).at(Timestamp::now()) else {
            return false;
        };
        let operation = attributed.operation.as_ref();
        let assigned = strategies.strategy(operation.map_or("", OperationName::as_str));
        assigned.is_some_and(|it| {
            (&it.policy, it.strategy) == (&attributed.policy, attributed.strategy)
        })
    }

    /// The services where a policy may decide: those where it decides by name, whether they run or
    /// not, and if it decides for services that no policy names, all others that run.
    // Computed from the policy's places, since looking up the policy in the plan of every service
    // would take a million steps with a thousand policies and as many services.
    pub(crate) fn services_of<'a, S>(
        &self,
        policy: &PolicyKey,
        running: &'a BTreeMap<ServiceName, S>,
    ) -> BTreeMap<ServiceName, Option<&'a S>> {
        let heads = || self.heads.get(policy).into_iter().flatten();
        let tail = self.tail.get(policy).into_iter().flat_map(BTreeMap::keys);
        let named: BTreeSet<_> = heads().filter_map(|it| it.0.as_ref()).chain(tail).collect();
        let mut services: BTreeMap<_, _> = named
            .into_iter()
            .map(|name| (name.clone(), running.get(name)))
            .collect();
        if heads().any(|it| it.0.is_none()) {
            for (name, service) in running {
                services.entry(name.clone()).or_insert(Some(service));
            }
        }
        services
    }

    /// True if a policy decided the head somewhere before, and now decides it at other places or
    /// nowhere.
    pub(crate) fn has_moved(&self, policy: &PolicyKey, before: Option<&Self>) -> bool {
        let had = before.and_then(|before| before.heads.get(policy));
        had.is_some() && had != self.heads.get(policy)
    }

    /// The strategy of a policy, if it decides the head anywhere.
    pub(crate) fn strategy_of(&self, policy: &PolicyKey, now: Timestamp) -> Option<Strategy> {
        let named = self
            .table
            .services()
            .filter(|(namespace, _, _)| **namespace == policy.namespace)
            .map(|(_, _, plan)| plan);
        named
            .chain([self.table.plan(policy.namespace.as_str(), "")])
            .filter_map(|plan| plan.at(now))
            .find_map(|strategies| served_plan::strategy_of(strategies, policy))
    }
}

fn head_places(outcomes: &BTreeMap<PolicyKey, Outcome>) -> HeadPlaces {
    let places = outcomes.iter().map(|(policy, outcome)| {
        let heads = outcome
            .effective
            .iter()
            .filter(|place| matches!(place.setting, Setting::Head(_)));
        let places = heads.map(|place| (place.service.clone(), place.operation.clone()));
        (policy.clone(), places.collect::<BTreeSet<_>>())
    });
    places.filter(|(_, places)| !places.is_empty()).collect()
}

fn tail_places(outcomes: &BTreeMap<PolicyKey, Outcome>) -> TailPlaces {
    let mut places = TailPlaces::new();
    for (policy, outcome) in outcomes {
        for place in &outcome.effective {
            if let (Setting::Tail { .. }, Some(service)) = (&place.setting, &place.service) {
                let services = places.entry(policy.clone()).or_default();
                let operations = services.entry(service.clone()).or_default();
                operations.extend(place.operation.clone());
            }
        }
    }
    places
}
