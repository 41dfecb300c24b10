//! The outcome of each policy, from the winners of all places.

use std::collections::BTreeSet;

use crate::{
    Acceptance, Effective, Outcome, Overridden, Part, Policy, PolicyName, Precedence, Probability,
    Setting, Strategy,
    ranking::{NamespaceRankings, Ranked, Ranking},
    tail_heads::{Head, Place, TailHeads},
};

/// The outcomes of policies that have not expired, in the order of their ranks.
pub(crate) fn of(ordered: &[&Policy], rankings: &NamespaceRankings<'_>) -> Vec<Outcome> {
    let mut drafts = Drafts(ordered.iter().map(|_| Draft::default()).collect());
    drafts.add_place(Place::default(), &rankings.others, &[]);
    for (service, of_service) in &rankings.services {
        let service_place = Place {
            service: Some(service),
            operation: None,
        };
        drafts.add_place(service_place, &of_service.others, &[&rankings.others]);
        for (operation, own) in &of_service.operations {
            let place = Place {
                operation: Some(operation),
                ..service_place
            };
            drafts.add_place(place, own, &[&of_service.others, &rankings.others]);
        }
    }
    let drafts = drafts.0.into_iter().zip(ordered);
    let outcomes = drafts.map(|(draft, policy)| draft.finish(policy, ordered));
    outcomes.collect()
}

/// The winners of the head and the tail of a place.
type Winners<'a> = (Option<Ranked<'a>>, Option<Ranked<'a>>);

/// The incomplete outcomes of policies, by rank.
struct Drafts<'a>(Vec<Draft<'a>>);

#[derive(Default)]
struct Draft<'a> {
    effective: Vec<Effective>,
    overridden: Vec<Overridden>,
    /// The policies that win over this one, by rank, which is faster to compare than names.
    winners: BTreeSet<usize>,
    /// The heads below 100 % at places of the policy's tail.
    tail_heads: TailHeads<'a>,
}

impl<'a> Drafts<'a> {
    /// Adds the result for a place to the outcomes of all policies concerned. `around` are the
    /// rankings of the larger places that contain it, smaller ones first.
    fn add_place(&mut self, place: Place<'a>, own: &Ranking<'a>, around: &[&Ranking<'a>]) {
        for part in [Part::Head, Part::Tail] {
            let Some((winner, losers)) = own.with(part).split_first() else {
                continue;
            };
            self.add_win(place, part, *winner);
            for loser in losers {
                let because = precedence_between(winner.policy, loser.policy);
                self.add_loss(place, part, *loser, *winner, because);
            }
            for outer in around.iter().filter_map(|it| it.winner(part)) {
                // No valid policy applies to both places, so none overrides itself.
                self.add_loss(place, part, outer, *winner, specificity(place));
            }
        }
        self.add_tail_head(place, own, around);
    }

    /// Adds the head that decides at a place to the draft of the tail that decides there.
    fn add_tail_head(&mut self, place: Place<'a>, own: &Ranking<'a>, around: &[&Ranking<'a>]) {
        let outer = |part| around.iter().find_map(|it| it.winner(part));
        let outer = (outer(Part::Head), outer(Part::Tail));
        // Head and tail are resolved separately, so they may come from different larger places.
        let here = (
            own.winner(Part::Head).or(outer.0),
            own.winner(Part::Tail).or(outer.1),
        );
        let ranks = |(head, tail): Winners<'a>| (head.map(|it| it.rank), tail.map(|it| it.rank));
        if ranks(here) == ranks(outer) {
            // The larger place already has this result.
            return;
        }
        if let Some((heads, head)) = self.tail_heads(outer) {
            heads.exclude(head, place);
        }
        if let Some((heads, head)) = self.tail_heads(here) {
            heads.add(head, place);
        }
    }

    /// The heads of the deciding tail, and the deciding head if it is below 100 %.
    fn tail_heads(&mut self, (head, tail): Winners<'a>) -> Option<(&mut TailHeads<'a>, Head<'a>)> {
        let (head, tail) = (head?.policy, tail?);
        let Some(Strategy::Probability(share)) = head.head else {
            return None;
        };
        let draft = self.0.get_mut(tail.rank)?;
        (share < Probability::ALWAYS).then_some((&mut draft.tail_heads, (share, &head.key.name)))
    }

    fn add_win(&mut self, place: Place<'_>, part: Part, winner: Ranked<'_>) {
        let setting = match part {
            Part::Head => winner.policy.head.map(Setting::Head),
            Part::Tail => winner.policy.tail.as_ref().map(|tail| Setting::Tail {
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
            by: winner.policy.key.name.clone(),
            because,
        });
    }
}

/// The reason why a policy for this place takes precedence over one for a larger place.
fn specificity(place: Place<'_>) -> Precedence {
    match place.operation {
        Some(_) => Precedence::ForOperation,
        None => Precedence::ForService,
    }
}

/// The reason why one of two policies for the same place takes precedence.
fn precedence_between(winner: &Policy, loser: &Policy) -> Precedence {
    if winner.priority != loser.priority {
        Precedence::Priority {
            winner: winner.priority,
            loser: loser.priority,
        }
    } else if winner.created != loser.created {
        Precedence::Older
    } else {
        Precedence::FirstByName
    }
}

impl Draft<'_> {
    fn finish(self, policy: &Policy, ordered: &[&Policy]) -> Outcome {
        let warnings = self.warnings(policy);
        let winners = self.winners.iter().filter_map(|rank| ordered.get(*rank));
        let winners: BTreeSet<PolicyName> = winners.map(|it| it.key.name.clone()).collect();
        let acceptance = match (winners.is_empty(), self.effective.is_empty()) {
            (true, _) => Acceptance::Accepted,
            (false, false) => Acceptance::PartiallyOverridden(winners),
            (false, true) => Acceptance::Conflicted(winners),
        };
        Outcome {
            acceptance,
            effective: self.effective,
            overridden: self.overridden,
            warnings,
        }
    }

    fn warnings(&self, policy: &Policy) -> Vec<String> {
        let mut warnings = vec![];
        let tail = policy.tail.as_ref();
        warnings.extend(tail.and_then(|tail| self.tail_heads.warning(&policy.key.name, tail)));
        // Jaeger's remote sampling has a rate limit for a whole service only.
        let is_limit = matches!(policy.head, Some(Strategy::RateLimit(_)));
        let mut targets = policy.targets.iter();
        if is_limit && targets.any(|target| !target.operations.is_empty()) {
            warnings.push(
                "polling clients cannot apply a rate limit to individual operations; they sample these like the rest of the service".to_owned(),
            );
        }
        warnings
    }
}
