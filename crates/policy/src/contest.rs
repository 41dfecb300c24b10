//! What becomes of each policy, by who wins each place.

use std::collections::BTreeSet;

use crate::{
    Acceptance, Effective, OperationName, Outcome, Overridden, Part, Policy, PolicyName,
    Precedence, Probability, ServiceName, Setting, Strategy,
    claims::{Claim, Claims, Ranked},
};

/// A place: the service (none: the namespace), the operation (none: the whole service).
#[derive(Clone, Copy)]
struct Place<'a> {
    service: Option<&'a ServiceName>,
    operation: Option<&'a OperationName>,
}

/// The outcomes of policies that have not ended, in the order of their ranks.
pub(crate) fn outcomes(ordered: &[&Policy], claims: &Claims<'_>) -> Vec<Outcome> {
    let mut contest = Contest(ordered.iter().map(|_| Draft::default()).collect());
    let namespace = Place {
        service: None,
        operation: None,
    };
    contest.settle(namespace, &claims.whole, &[]);
    for (service, of_service) in &claims.services {
        let whole = Place {
            service: Some(service),
            operation: None,
        };
        contest.settle(whole, &of_service.whole, &[&claims.whole]);
        for (operation, claim) in &of_service.operations {
            let place = Place {
                operation: Some(operation),
                ..whole
            };
            contest.settle(place, claim, &[&of_service.whole, &claims.whole]);
        }
    }
    contest
        .0
        .into_iter()
        .zip(ordered)
        .map(|(draft, policy)| draft.finish(policy, ordered))
        .collect()
}

/// What is known so far of the policies, by rank.
struct Contest<'a>(Vec<Draft<'a>>);

#[derive(Default)]
struct Draft<'a> {
    effective: Vec<Effective>,
    overridden: Vec<Overridden>,
    /// Who wins there, by rank: names take longer to compare.
    winners: BTreeSet<usize>,
    /// The heads under 100 % that come before the policy's tail, and whose they are.
    heads: BTreeSet<(Probability, &'a PolicyName)>,
}

impl<'a> Contest<'a> {
    /// Says to all whom it concerns who wins a place: `around` are the claims to the larger
    /// places that it is in, the smaller first.
    fn settle(&mut self, place: Place<'_>, claim: &Claim<'a>, around: &[&Claim<'a>]) {
        for part in [Part::Head, Part::Tail] {
            let Some((winner, losers)) = claim.to(part).split_first() else {
                continue;
            };
            self.won(place, part, *winner);
            for loser in losers {
                let because = between(winner.policy, loser.policy);
                self.lost(place, part, *loser, *winner, because);
            }
            for outer in around.iter().filter_map(|claim| claim.winner(part)) {
                if outer.rank != winner.rank {
                    self.lost(place, part, outer, *winner, place.specificity());
                }
            }
        }
        let head = [claim]
            .iter()
            .chain(around)
            .find_map(|claim| claim.winner(Part::Head));
        let (Some(head), Some(tail)) = (head, claim.winner(Part::Tail)) else {
            return;
        };
        if let (Some(Strategy::Probability(share)), Some(draft)) =
            (head.policy.head(), self.0.get_mut(tail.rank))
            && share < Probability::ALWAYS
        {
            draft.heads.insert((share, &head.policy.key().name));
        }
    }

    fn won(&mut self, place: Place<'_>, part: Part, winner: Ranked<'_>) {
        let setting = match part {
            Part::Head => winner.policy.head().map(Setting::Head),
            Part::Tail => winner.policy.tail().map(|tail| Setting::Tail {
                otherwise: tail.otherwise(),
            }),
        };
        let (Some(draft), Some(setting)) = (self.0.get_mut(winner.rank), setting) else {
            return;
        };
        let Place { service, operation } = place;
        draft.effective.push(Effective {
            service: service.cloned(),
            operation: operation.cloned(),
            setting,
        });
    }

    fn lost(
        &mut self,
        place: Place<'_>,
        part: Part,
        loser: Ranked<'_>,
        winner: Ranked<'_>,
        because: Precedence,
    ) {
        let Some(draft) = self.0.get_mut(loser.rank) else {
            return;
        };
        draft.winners.insert(winner.rank);
        draft.overridden.push(Overridden {
            service: place.service.cloned(),
            operation: place.operation.cloned(),
            part,
            by: winner.policy.key().name.clone(),
            because,
        });
    }
}

impl Place<'_> {
    /// Why a claim to this place goes before one to a larger place.
    fn specificity(&self) -> Precedence {
        match self.operation {
            Some(_) => Precedence::ForOperation,
            None => Precedence::ForService,
        }
    }
}

/// Why one of two that claim the same place goes before the other.
fn between(winner: &Policy, loser: &Policy) -> Precedence {
    if winner.priority() != loser.priority() {
        Precedence::Priority {
            winner: winner.priority(),
            loser: loser.priority(),
        }
    } else if winner.created() != loser.created() {
        Precedence::Older
    } else {
        Precedence::FirstByName
    }
}

impl Draft<'_> {
    fn finish(self, policy: &Policy, ordered: &[&Policy]) -> Outcome {
        let warnings = self.warnings(policy);
        let winners: BTreeSet<PolicyName> = self
            .winners
            .iter()
            .filter_map(|rank| ordered.get(*rank))
            .map(|winner| winner.key().name.clone())
            .collect();
        let acceptance = match (winners.is_empty(), self.effective.is_empty()) {
            (true, _) => Acceptance::Accepted,
            (false, false) => Acceptance::PartiallyOverridden(winners),
            (false, true) => Acceptance::Conflicted(winners),
        };
        let Self {
            effective,
            overridden,
            ..
        } = self;
        Outcome {
            acceptance,
            effective,
            overridden,
            warnings,
        }
    }

    fn warnings(&self, policy: &Policy) -> Vec<String> {
        let mut warnings = vec![];
        for (share, by) in &self.heads {
            let Some(tail) = policy.tail() else { break };
            let head = match *by == &policy.key().name {
                true => "the head".to_owned(),
                false => format!("the head of \"{by}\""),
            };
            if !tail.keep().is_empty() {
                warnings.push(format!(
                    "{head} comes first with {share}: the rules in `tail.keep` see only {share} of the traces that they are for"
                ));
            }
            if tail.otherwise() > *share {
                warnings.push(format!(
                    "{head} comes first with {share}: `tail.otherwise` can't keep {} of all traces, so it keeps all that arrive",
                    tail.otherwise()
                ));
            }
        }
        let is_limit = matches!(policy.head(), Some(Strategy::RateLimit(_)));
        if is_limit
            && policy
                .targets()
                .iter()
                .any(|target| !target.operations.is_empty())
        {
            warnings.push(
                "clients that only poll can't be told a rate limit for single operations: they sample these as the rest of the service".to_owned(),
            );
        }
        warnings
    }
}
