//! The samplers of each namespace, their rings, and the counts of their decisions.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use jiff::Timestamp;
use spoor_policy::{
    Namespace, OperationName, Plan, PolicyKey, Probability, Strategy, statistics::Verdict,
};
use spoor_proto::spoor::sampler::v1::Rings;

use super::Control;
use crate::{
    publication::Publication,
    sampler_record::ReportedDecisions,
    sampler_state::SamplerState,
    samplers::{DisconnectedSampler, NamespaceSamplers},
    served_plan,
    tail_counts::{TailCounts, TailDecisions},
    tail_ledger::TailDelta,
    tail_rules::RulesPlace,
};

impl Control {
    /// The samplers of a namespace that are connected or were until recently, by instance.
    #[must_use]
    pub fn samplers(&self, namespace: &Namespace) -> Vec<SamplerState> {
        let samplers = self.0.samplers.get(namespace);
        samplers.map_or_else(Vec::new, |samplers| samplers.states())
    }

    /// Replaces the rings of all stacks, by namespace and name, and pushes those that changed to the
    /// samplers of their stack. Samplers of a stack that is not listed keep the rings that they have.
    pub fn set_rings(&self, rings: BTreeMap<(Namespace, String), Rings>) {
        self.0.samplers.set_rings(rings);
    }

    /// The decisions by a policy's tail.
    ///
    /// `None` if the policy decides the tail nowhere, or its namespace has no samplers.
    #[must_use]
    pub fn tail_counts(&self, policy: &PolicyKey) -> Option<TailCounts> {
        let published = self.0.published.load_full()?;
        let samplers = self.0.samplers.get(&policy.namespace)?;
        let window = self.0.settings.window;
        let counted = samplers
            .state()
            .counts(&policy.name, window, Instant::now());
        let (rules, mut counts) = counted?;
        if let Some(otherwise) = &mut counts.otherwise
            && has_partial_head(&published, &policy.namespace, &rules.places)
        {
            otherwise.verdict = Verdict::Unknown;
        }
        Some(counts)
    }

    /// Adds decisions that a sampler in this process made between two moments, by the tail that a
    /// policy has at present.
    pub fn add_tail_decisions(
        &self,
        policy: &PolicyKey,
        decisions: TailDecisions,
        (from, to): (Instant, Instant),
    ) {
        let samplers = self.samplers_or_insert(&policy.namespace);
        let mut state = samplers.state();
        let served = state.served.as_ref();
        let rules = served.and_then(|served| served.policies.get(&policy.name).cloned());
        let delta = rules.map(|rules| TailDelta {
            policy: policy.name.clone(),
            rules,
            decisions,
        });
        let reported = ReportedDecisions {
            deltas: delta.into_iter().collect(),
            from,
            to,
        };
        state.add(&reported, self.0.settings.window);
    }

    /// The samplers of a namespace. New ones have the current rules.
    pub(crate) fn samplers_or_insert(&self, namespace: &Namespace) -> Arc<NamespaceSamplers> {
        let published = || self.0.published.load_full();
        self.0.samplers.get_or_insert(namespace, published)
    }

    /// Keeps the record of a disconnected sampler in case it reconnects.
    pub(crate) fn remember_disconnected_sampler(&self, sampler: DisconnectedSampler) {
        self.0.samplers.remember_disconnected(sampler);
    }
}

/// True if a head may keep fewer than all traces at one of the places.
fn has_partial_head(published: &Publication, namespace: &Namespace, places: &[RulesPlace]) -> bool {
    let table = &published.table;
    let plan = |service: &str| table.plan(namespace.as_str(), service);
    places.iter().any(|(service, operation)| match service {
        Some(service) => is_partial(plan(service.as_str()), operation.as_ref()),
        None => {
            let of_namespace = table.services().filter(|(other, ..)| *other == namespace);
            let mut plans = of_namespace.map(|(_, _, plan)| plan).chain([plan("")]);
            plans.any(|plan| is_partial(plan, None))
        }
    })
}

/// True if a plan may keep fewer than all traces of an operation, or of any if none is given.
fn is_partial(plan: &Plan, operation: Option<&OperationName>) -> bool {
    let Some(strategies) = plan.at(Timestamp::now()) else {
        return false;
    };
    let always = Strategy::Probability(Probability::ALWAYS);
    match operation {
        Some(operation) => {
            let assigned = strategies.strategy(operation.as_str());
            assigned.is_some_and(|it| it.strategy != always)
        }
        None => served_plan::assigned(strategies).any(|it| it.strategy != always),
    }
}
