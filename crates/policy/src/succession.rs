//! The policies that decide at a place one after another, as they expire.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::{
    Assigned, OperationName, Part, Plan, Policy, PolicyPhase, Strategies,
    ranking::{NamespaceRankings, Ranking},
    table::NamespacePlans,
};

/// The most phases of a plan. A later resolution adds the others.
const MAX_PHASES: usize = 8;

/// The most bytes that the operations of all phases of a plan take in its message. Below 4 MiB, the
/// longest message that gRPC clients accept by default. A single phase may take more, but only with
/// more than [`Strategies::MAX_OPERATIONS`] operations, and services refuse such a plan.
const MAX_OPERATION_BYTES: usize = 4_000_000;

/// The bytes of an operation in the message besides its name: at most 18, rounded up.
const ENTRY_BYTES: usize = 20;

/// The policies that decide at one place in turn, each until it expires.
#[derive(Clone, Debug, Default)]
struct Succession<'a>(Vec<&'a Policy>);

impl<'a> Succession<'a> {
    fn of(own: &Ranking<'a>) -> Self {
        Self::default().then(own)
    }

    /// Appends the policies with a head, except those that expire before their turn.
    fn then(mut self, next: &Ranking<'a>) -> Self {
        for policy in next.with(Part::Head).iter().map(|ranked| ranked.policy) {
            match self.0.last().map(|last| last.expires_at) {
                // The last policy never expires, so no other one follows.
                Some(None) => break,
                Some(Some(turn)) if policy.expires_at.is_some_and(|end| end <= turn) => {}
                _ => self.0.push(policy),
            }
        }
        self
    }

    fn ends(&self) -> impl Iterator<Item = Timestamp> {
        self.0.iter().filter_map(|policy| policy.expires_at)
    }

    /// The strategy from a time on, or from now on if the time is `None`.
    fn strategy_from(&self, time: Option<Timestamp>) -> Option<Assigned> {
        let is_in_force =
            |policy: &Policy| time.zip(policy.expires_at).is_none_or(|(at, end)| at < end);
        let policy = self.0.iter().find(|policy| is_in_force(policy))?;
        Some(Assigned {
            strategy: policy.head?,
            policy: policy.key.name.clone(),
        })
    }
}

/// The plans of every service that a policy with a head names, and the plan of all others.
pub(crate) fn plans(rankings: &NamespaceRankings<'_>) -> NamespacePlans {
    // A service named only by policies without a head has no plan of its own: the plan of all
    // others applies.
    let services = rankings
        .services_with(Part::Head)
        .map(|(service, of_service)| {
            let operations = of_service.operations.iter();
            let places = Places {
                default: Succession::of(&of_service.others).then(&rankings.others),
                operations: operations
                    .map(|(name, own)| (*name, Succession::of(own)))
                    .collect(),
            };
            (service.clone(), places.plan())
        });
    NamespacePlans {
        services: services.collect(),
        others: Places {
            default: Succession::of(&rankings.others),
            operations: vec![],
        }
        .plan(),
    }
}

/// The successions of one service.
struct Places<'a> {
    default: Succession<'a>,
    operations: Vec<(&'a OperationName, Succession<'a>)>,
}

impl Places<'_> {
    /// A plan with one phase from now on, and one from each expiry.
    fn plan(&self) -> Plan {
        let operations = self.operations.iter();
        let operations = operations.flat_map(|(_, succession)| succession.ends());
        let ends: BTreeSet<Timestamp> = self.default.ends().chain(operations).collect();
        let later = ends.iter().copied().map(Some);
        let max_phases = self.max_phases();
        let starts = [None].into_iter().chain(later).take(max_phases);
        let phases = starts.enumerate().map(|(at, start)| PolicyPhase {
            // The last phase of a truncated plan has no end. A later resolution adds the rest.
            until: ends.iter().nth(at).copied().filter(|_| at + 1 < max_phases),
            strategies: self.strategies_from(start),
        });
        Plan {
            phases: phases.collect(),
        }
    }

    /// The most phases with which the plan's message is not too long.
    fn max_phases(&self) -> usize {
        let operations = self.operations.iter();
        let bytes = operations.map(|(name, _)| ENTRY_BYTES + name.as_str().len());
        (MAX_OPERATION_BYTES / bytes.sum::<usize>().max(1)).clamp(1, MAX_PHASES)
    }

    fn strategies_from(&self, time: Option<Timestamp>) -> Strategies {
        let operations = self.operations.iter();
        let operations = operations.filter_map(|(name, succession)| {
            Some(((*name).clone(), succession.strategy_from(time)?))
        });
        Strategies {
            default: self.default.strategy_from(time),
            operations: operations.collect(),
        }
    }
}
