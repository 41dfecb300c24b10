//! The claims of policies to places, winners first.

use std::{cmp::Reverse, collections::BTreeMap};

use jiff::Timestamp;

use crate::{OperationName, Part, Policy, PolicyKey, ServiceName};

/// A policy and its place in the order of winners.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ranked<'a> {
    pub(crate) rank: usize,
    pub(crate) policy: &'a Policy,
}

/// The policies that claim one place, winners first.
#[derive(Debug, Default)]
pub(crate) struct Claim<'a> {
    head: Vec<Ranked<'a>>,
    tail: Vec<Ranked<'a>>,
}

/// The claims to one service.
#[derive(Debug, Default)]
pub(crate) struct ServiceClaims<'a> {
    /// The claim to all operations without claims of their own.
    pub(crate) others: Claim<'a>,
    pub(crate) operations: BTreeMap<&'a OperationName, Claim<'a>>,
}

/// All claims in one namespace.
#[derive(Debug, Default)]
pub(crate) struct Claims<'a> {
    /// The claim to all services without claims of their own.
    pub(crate) others: Claim<'a>,
    pub(crate) services: BTreeMap<&'a ServiceName, ServiceClaims<'a>>,
}

impl<'a> Claims<'a> {
    /// The claims of policies that are sorted by [`precedence`].
    pub(crate) fn of(ordered: &[&'a Policy]) -> Self {
        let mut claims = Self::default();
        for (rank, policy) in ordered.iter().enumerate() {
            claims.add(Ranked { rank, policy });
        }
        claims
    }

    /// The services in which a policy claims this part.
    pub(crate) fn services_with(
        &self,
        part: Part,
    ) -> impl Iterator<Item = (&'a ServiceName, &ServiceClaims<'a>)> {
        let services = self.services.iter();
        let services = services.filter(move |(_, claims)| claims.has(part));
        services.map(|(service, claims)| (*service, claims))
    }

    fn add(&mut self, ranked: Ranked<'a>) {
        if ranked.policy.targets.is_empty() {
            self.others.add(ranked);
        }
        // A valid policy names each service and operation once, so it claims no place twice.
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

impl ServiceClaims<'_> {
    /// True if a policy claims this part anywhere in the service.
    fn has(&self, part: Part) -> bool {
        let mut claims = [&self.others].into_iter().chain(self.operations.values());
        claims.any(|claim| claim.winner(part).is_some())
    }
}

impl<'a> Claim<'a> {
    fn add(&mut self, ranked: Ranked<'a>) {
        if ranked.policy.head.is_some() {
            self.head.push(ranked);
        }
        if ranked.policy.tail.is_some() {
            self.tail.push(ranked);
        }
    }

    /// The policies that claim one part of the decision.
    pub(crate) fn to(&self, part: Part) -> &[Ranked<'a>] {
        match part {
            Part::Head => &self.head,
            Part::Tail => &self.tail,
        }
    }

    /// The policy that decides this part.
    pub(crate) fn winner(&self, part: Part) -> Option<Ranked<'a>> {
        self.to(part).first().copied()
    }
}

/// The sort key of policies that claim the same place, winners first.
pub(crate) fn precedence(policy: &Policy) -> (Reverse<i32>, Timestamp, &PolicyKey) {
    (Reverse(policy.priority), policy.created, &policy.key)
}
