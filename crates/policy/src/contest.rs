//! The outcome of each policy, from the winners of all places.

use std::collections::BTreeSet;

use crate::{
    Acceptance, Effective, OperationName, Outcome, Overridden, Part, Policy, PolicyName,
    Precedence, Probability, ServiceName, Setting, Strategy,
    claims::{Claim, Claims, Ranked},
};

/// The most heads that a warning names.
const MAX_NAMED: usize = 3;

/// A place. Without a service, the whole namespace; without an operation, the whole service.
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
    contest.add_place(namespace, &claims.whole, &[]);
    for (service, of_service) in &claims.services {
        let whole = Place {
            service: Some(service),
            operation: None,
        };
        contest.add_place(whole, &of_service.whole, &[&claims.whole]);
        for (operation, claim) in &of_service.operations {
            let place = Place {
                operation: Some(operation),
                ..whole
            };
            contest.add_place(place, claim, &[&of_service.whole, &claims.whole]);
        }
    }
    contest
        .0
        .into_iter()
        .zip(ordered)
        .map(|(draft, policy)| draft.finish(policy, ordered))
        .collect()
}

/// The incomplete outcomes of policies, by rank.
struct Contest<'a>(Vec<Draft<'a>>);

#[derive(Default)]
struct Draft<'a> {
    effective: Vec<Effective>,
    overridden: Vec<Overridden>,
    /// The winners over the policy, by rank, which is faster to compare than names.
    winners: BTreeSet<usize>,
    /// The heads below 100 % at places of the policy's tail, with their policies.
    heads: BTreeSet<(Probability, &'a PolicyName)>,
}

impl<'a> Contest<'a> {
    /// Adds the result for a place to the outcomes of all policies concerned. `around` are the claims
    /// to the larger places that contain it, smaller ones first.
    fn add_place(&mut self, place: Place<'_>, claim: &Claim<'a>, around: &[&Claim<'a>]) {
        for part in [Part::Head, Part::Tail] {
            let Some((winner, losers)) = claim.to(part).split_first() else {
                continue;
            };
            self.add_win(place, part, *winner);
            for loser in losers {
                let because = between(winner.policy, loser.policy);
                self.add_loss(place, part, *loser, *winner, because);
            }
            for outer in around.iter().filter_map(|claim| claim.winner(part)) {
                // A policy may claim both places, and does not override itself.
                if outer.rank != winner.rank {
                    self.add_loss(place, part, outer, *winner, place.specificity());
                }
            }
        }
        // Head and tail are resolved separately, so the head here may come from a larger place.
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

    fn add_win(&mut self, place: Place<'_>, part: Part, winner: Ranked<'_>) {
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

    fn add_loss(
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
    /// The reason why a claim to this place takes precedence over one to a larger place.
    fn specificity(&self) -> Precedence {
        match self.operation {
            Some(_) => Precedence::ForOperation,
            None => Precedence::ForService,
        }
    }
}

/// The reason why one of two policies that claim the same place takes precedence.
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
        warnings.extend(self.unseen_by_tail(policy));
        // Jaeger's remote sampling has a rate limit for a whole service only.
        let is_limit = matches!(policy.head(), Some(Strategy::RateLimit(_)));
        if is_limit
            && policy
                .targets()
                .iter()
                .any(|target| !target.operations.is_empty())
        {
            warnings.push(
                "polling clients cannot apply a rate limit to single operations; they sample these like the rest of the service".to_owned(),
            );
        }
        warnings
    }

    /// A warning about heads that drop traces before the policy's tail rules can keep them.
    fn unseen_by_tail(&self, policy: &Policy) -> Option<String> {
        let tail = policy.tail()?;
        let name = |by: &PolicyName| match *by == policy.key().name {
            true => "its own head".to_owned(),
            false => format!("\"{by}\""),
        };
        let head = |(share, by): &(Probability, &PolicyName)| format!("{share} by {}", name(by));
        // `otherwise` counts head and tail together, so a head of at least that much withholds
        // nothing from it.
        let is_less = |(share, _): &&(Probability, &PolicyName)| {
            !tail.keep().is_empty() || tail.otherwise() > *share
        };
        let mut heads: Vec<String> = self.heads.iter().filter(is_less).map(head).collect();
        let more = heads.len().saturating_sub(MAX_NAMED);
        if more > 0 {
            heads.truncate(MAX_NAMED);
            heads.push(format!("{more} more"));
        }
        let heads = (!heads.is_empty()).then(|| heads.join(", "))?;
        let kept_whole = match self
            .heads
            .iter()
            .any(|(share, _)| tail.otherwise() > *share)
        {
            true => "; where that is less than `tail.otherwise`, all of these are kept",
            false => "",
        };
        Some(format!(
            "tail rules see only the traces that a head keeps: {heads}{kept_whole}"
        ))
    }
}
