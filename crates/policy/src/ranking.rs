//! The policies that apply to each place, winners first.

use std::{cmp::Reverse, collections::BTreeMap};

use jiff::Timestamp;

use crate::{OperationName, Part, Policy, PolicyKey, ServiceName};

/// A policy and its position in the order of precedence, where 0 is the first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ranked<'a> {
    pub(crate) rank: usize,
    pub(crate) policy: &'a Policy,
}

/// The policies that apply to one place, winners first.
#[derive(Debug, Default)]
pub(crate) struct Ranking<'a> {
    head: Vec<Ranked<'a>>,
    tail: Vec<Ranked<'a>>,
}

/// The policies that apply to one service or to its operations.
#[derive(Debug, Default)]
pub(crate) struct ServiceRankings<'a> {
    /// The policies for the whole service, which name no operation.
    pub(crate) others: Ranking<'a>,
    pub(crate) operations: BTreeMap<&'a OperationName, Ranking<'a>>,
}

/// The policies that apply in one namespace.
#[derive(Debug, Default)]
pub(crate) struct NamespaceRankings<'a> {
    /// The policies for the whole namespace, which name no service.
    pub(crate) others: Ranking<'a>,
    pub(crate) services: BTreeMap<&'a ServiceName, ServiceRankings<'a>>,
}

impl<'a> NamespaceRankings<'a> {
    /// Groups policies by place. They must be in the order of [`precedence`].
    pub(crate) fn of(ordered: &[&'a Policy]) -> Self {
        let mut rankings = Self::default();
        for (rank, policy) in ordered.iter().enumerate() {
            rankings.add(Ranked { rank, policy });
        }
        rankings
    }

    /// The services that a policy with this part names.
    pub(crate) fn services_with(
        &self,
        part: Part,
    ) -> impl Iterator<Item = (&'a ServiceName, &ServiceRankings<'a>)> {
        let services = self.services.iter();
        let services = services.filter(move |(_, rankings)| rankings.has(part));
        services.map(|(service, rankings)| (*service, rankings))
    }

    fn add(&mut self, ranked: Ranked<'a>) {
        if ranked.policy.targets.is_empty() {
            self.others.add(ranked);
        }
        // A valid policy names each service and operation once, so it is added to no place twice.
        for target in &ranked.policy.targets {
            let service = self.services.entry(&target.service).or_default();
            if target.operations.is_empty() {
                service.others.add(ranked);
            }
            for operation in &target.operations {
                service.operations.entry(operation).or_default().add(ranked);
            }
        }
    }
}

impl ServiceRankings<'_> {
    /// True if a policy with this part applies anywhere in the service.
    fn has(&self, part: Part) -> bool {
        let mut rankings = [&self.others].into_iter().chain(self.operations.values());
        rankings.any(|it| it.winner(part).is_some())
    }
}

impl<'a> Ranking<'a> {
    fn add(&mut self, ranked: Ranked<'a>) {
        if ranked.policy.head.is_some() {
            self.head.push(ranked);
        }
        if ranked.policy.tail.is_some() {
            self.tail.push(ranked);
        }
    }

    /// The policies that have this part.
    pub(crate) fn with(&self, part: Part) -> &[Ranked<'a>] {
        match part {
            Part::Head => &self.head,
            Part::Tail => &self.tail,
        }
    }

    /// The policy that decides this part.
    pub(crate) fn winner(&self, part: Part) -> Option<Ranked<'a>> {
        self.with(part).first().copied()
    }
}

/// The sort key of policies that apply to the same place, winners first.
pub(crate) fn precedence(policy: &Policy) -> (Reverse<i32>, Timestamp, &PolicyKey) {
    (Reverse(policy.priority), policy.created, &policy.key)
}
