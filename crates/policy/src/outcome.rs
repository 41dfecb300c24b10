//! What became of each policy, and why.

use std::{collections::BTreeSet, fmt};

use jiff::Timestamp;

use crate::{
    OperationName, Policy, PolicyName, Probability, ServiceName, Strategy,
    claims::{Claims, Place, places},
};

/// What became of one policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Whether it holds.
    pub acceptance: Acceptance,
    /// Where it decides.
    pub effective: Vec<Effective>,
    /// Where another decides instead.
    pub overridden: Vec<Overridden>,
    /// What its author should know, each a sentence.
    pub warnings: Vec<String>,
}

/// Whether a policy holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acceptance {
    /// Everywhere it asks for.
    Accepted,
    /// In part: these others win elsewhere.
    PartiallyOverridden(BTreeSet<PolicyName>),
    /// Nowhere: these others win.
    Conflicted(BTreeSet<PolicyName>),
    /// No longer, since then.
    Expired(Timestamp),
}

/// A place where a policy decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// The service; none: every one that no policy names.
    pub service: Option<ServiceName>,
    /// The operation; none: all others.
    pub operation: Option<OperationName>,
    /// What it says there.
    pub setting: Setting,
}

/// What a policy says at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting {
    /// The head strategy.
    Head(Strategy),
    /// Tail rules, with this overall probability of the rest.
    Tail {
        /// What no rule keeps is kept with it.
        otherwise: Probability,
    },
}

/// A place where another policy decides one part.
///
/// Either it is a place that the policy asks for, and the other one wins it, or it is a smaller
/// place inside one where the policy does decide, and the other one is for just that: a policy
/// for the whole namespace is overridden in part by one for a service, and a policy for a
/// service by one for an operation of it. What another policy says of a larger place overrides
/// nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overridden {
    /// The service; none: every one that no policy names.
    pub service: Option<ServiceName>,
    /// The operation; none: all others.
    pub operation: Option<OperationName>,
    /// What the other one decides there.
    pub part: Part,
    /// The winner.
    pub by: PolicyName,
    /// The rule by which it wins.
    pub because: Precedence,
}

/// The parts of a policy, which are resolved apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// What decides where a trace starts.
    Head,
    /// What decides once a trace is whole.
    Tail,
}

/// The rules by which one policy wins over another, in the order in which they are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precedence {
    /// It is for an operation; the other for more than that.
    ForOperation,
    /// It is for a service; the other for the namespace.
    ForService,
    /// Its priority is the higher.
    Priority {
        /// The winner's.
        winner: i32,
        /// The other's.
        loser: i32,
    },
    /// It is the older.
    Older,
    /// Its name is the first in the order of bytes.
    FirstByName,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Head => "head",
            Self::Tail => "tail",
        })
    }
}

impl fmt::Display for Precedence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ForOperation => f.write_str("is for that operation"),
            Self::ForService => f.write_str("is for that service"),
            Self::Priority { winner, loser } => {
                write!(f, "has the higher priority ({winner} over {loser})")
            }
            Self::Older => f.write_str("is older"),
            Self::FirstByName => f.write_str("is as old and comes first by name"),
        }
    }
}

impl fmt::Display for Overridden {
    /// A sentence without its full stop: `"b" decides the head of service-a, because it is older`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" decides the {} of ", self.by, self.part)?;
        match (&self.service, &self.operation) {
            (None, _) => f.write_str("the namespace")?,
            (Some(service), None) => write!(f, "{service}")?,
            (Some(service), Some(operation)) => write!(f, "{service} \"{operation}\"")?,
        }
        write!(f, ", because it {}", self.because)
    }
}

/// The claims of one namespace, head and tail apart.
pub(crate) struct Parts<'a> {
    pub(crate) head: Claims<'a>,
    pub(crate) tail: Claims<'a>,
}

impl<'a> Parts<'a> {
    pub(crate) fn of(ranked: &[&'a Policy]) -> Self {
        let having = |has: fn(&Policy) -> bool| {
            Claims::of(ranked.iter().copied().filter(move |policy| has(policy)))
        };
        Self {
            head: having(|policy| policy.head().is_some()),
            tail: having(|policy| policy.tail().is_some()),
        }
    }

    /// What becomes of a policy that has not ended.
    pub(crate) fn outcome(&self, policy: &'a Policy) -> Outcome {
        let (mut effective, mut overridden) = (vec![], vec![]);
        let head = policy.head().map(Setting::Head);
        let tail = policy.tail().map(|tail| Setting::Tail {
            otherwise: tail.otherwise(),
        });
        let parts = [
            (Part::Head, &self.head, head),
            (Part::Tail, &self.tail, tail),
        ];
        for (part, claims, setting) in parts {
            let Some(setting) = setting else { continue };
            for place in places(policy) {
                if let Some(winner) = winner_over(policy, claims, place) {
                    overridden.push(loss(policy, winner, part, place));
                    continue;
                }
                effective.push(Effective {
                    service: place.service.cloned(),
                    operation: place.operation.cloned(),
                    setting: setting.clone(),
                });
                let others = claims
                    .inside(place)
                    .filter(|(_, winner)| !is_same(winner, policy));
                overridden.extend(others.map(|(place, by)| smaller(by, part, place)));
            }
        }
        let acceptance = acceptance(&effective, &overridden);
        Outcome {
            acceptance,
            effective,
            overridden,
            warnings: self.warnings(policy),
        }
    }

    fn warnings(&self, policy: &'a Policy) -> Vec<String> {
        let mut warnings = BTreeSet::new();
        for place in places(policy) {
            let Some(tail) = policy.tail() else { break };
            let is_in_force = winner_over(policy, &self.tail, place).is_none();
            let Some((Strategy::Probability(share), by)) = self.head_at(place) else {
                continue;
            };
            if !is_in_force || share == Probability::ALWAYS {
                continue;
            }
            let whose = match is_same(by, policy) {
                true => String::new(),
                false => format!(" of \"{}\"", by.key().name),
            };
            if !tail.keep().is_empty() {
                warnings.insert(format!(
                    "the head{whose} comes first with {share}: the rules in `tail.keep` see only {share} of the traces that they are for"
                ));
            }
            if tail.otherwise() > share {
                warnings.insert(format!(
                    "the head{whose} comes first with {share}: `tail.otherwise` can't keep {} of all traces, so it keeps all that arrive",
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
            warnings.insert(
                "clients that only poll can't be told a rate limit for single operations: they sample these as the rest of the service".to_owned(),
            );
        }
        warnings.into_iter().collect()
    }

    /// The head that decides at a place or, if nothing claims just that, around it.
    fn head_at(&self, place: Place<'a>) -> Option<(Strategy, &'a Policy)> {
        let around = [
            place,
            Place {
                operation: None,
                ..place
            },
            Place {
                service: None,
                operation: None,
            },
        ];
        let winner = around
            .iter()
            .find_map(|place| self.head.at(*place).first())?;
        Some((winner.head()?, winner))
    }
}

/// Who decides at a place that the policy asks for, unless that is the policy itself.
fn winner_over<'a>(policy: &Policy, claims: &Claims<'a>, place: Place<'a>) -> Option<&'a Policy> {
    claims
        .at(place)
        .first()
        .copied()
        .filter(|winner| !is_same(winner, policy))
}

fn is_same(one: &Policy, other: &Policy) -> bool {
    one.key() == other.key()
}

/// The loss of a place to another policy that asks for the same.
fn loss(loser: &Policy, winner: &Policy, part: Part, place: Place<'_>) -> Overridden {
    let because = if winner.priority() != loser.priority() {
        Precedence::Priority {
            winner: winner.priority(),
            loser: loser.priority(),
        }
    } else if winner.created() != loser.created() {
        Precedence::Older
    } else {
        Precedence::FirstByName
    };
    overridden(winner, part, place, because)
}

/// The loss of a smaller place inside.
fn smaller(winner: &Policy, part: Part, place: Place<'_>) -> Overridden {
    let because = match place.operation {
        Some(_) => Precedence::ForOperation,
        None => Precedence::ForService,
    };
    overridden(winner, part, place, because)
}

fn overridden(by: &Policy, part: Part, place: Place<'_>, because: Precedence) -> Overridden {
    Overridden {
        service: place.service.cloned(),
        operation: place.operation.cloned(),
        part,
        by: by.key().name.clone(),
        because,
    }
}

fn acceptance(effective: &[Effective], overridden: &[Overridden]) -> Acceptance {
    let winners: BTreeSet<PolicyName> = overridden
        .iter()
        .map(|overridden| overridden.by.clone())
        .collect();
    match (winners.is_empty(), effective.is_empty()) {
        (true, _) => Acceptance::Accepted,
        (false, false) => Acceptance::PartiallyOverridden(winners),
        (false, true) => Acceptance::Conflicted(winners),
    }
}
