//! All policies in; one table, and what became of each policy, out.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use jiff::Timestamp;

use crate::{
    Assigned, Namespace, OperationName, Phase, Plan, Policy, PolicyKey, PolicyName, Probability,
    ServiceName, Strategies, Strategy, Table, TailTable,
    table::NamespacePlans,
    tail::{NamespaceTail, ServiceTail},
};

/// A plan looks no further ahead than this many expiries; later ones come with a later resolution.
const MAX_PHASES: usize = 8;

/// What all policies together mean at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolution {
    /// The head strategies.
    pub table: Table,
    /// The tail policies.
    pub tail: TailTable,
    /// What became of each policy.
    pub outcomes: BTreeMap<PolicyKey, Outcome>,
    /// When to resolve again.
    pub next_expiry: Option<Timestamp>,
}

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

/// A place where another policy decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overridden {
    /// The service; none: every one that no policy names.
    pub service: Option<ServiceName>,
    /// The operation; none: all others.
    pub operation: Option<OperationName>,
    /// The winner.
    pub by: PolicyName,
}

/// Resolves all policies at a moment.
///
/// Operation before service before namespace; then the higher priority, the older, the first by
/// name. Head and tail are resolved apart.
#[must_use]
pub fn resolve(policies: &[Policy], now: Timestamp) -> Resolution {
    let (mut live, expired): (Vec<&Policy>, Vec<&Policy>) = policies
        .iter()
        .partition(|policy| policy.expires_at().is_none_or(|end| now < end));
    live.sort_by_key(|policy| rank(policy));
    let expiries: BTreeSet<Timestamp> = live.iter().filter_map(|p| p.expires_at()).collect();

    let claims = Claims::of(&live);
    let mut outcomes: BTreeMap<PolicyKey, Outcome> = live
        .iter()
        .map(|policy| (policy.key().clone(), claims.outcome(policy)))
        .collect();
    outcomes.extend(expired.iter().filter_map(|policy| {
        let acceptance = Acceptance::Expired(policy.expires_at()?);
        let outcome = Outcome {
            acceptance,
            effective: vec![],
            overridden: vec![],
            warnings: vec![],
        };
        Some((policy.key().clone(), outcome))
    }));
    Resolution {
        table: table(&live, &expiries),
        tail: claims.tail_table(),
        outcomes,
        next_expiry: expiries.first().copied(),
    }
}

/// Sorts winners first, among equally specific policies.
fn rank(policy: &Policy) -> (Reverse<i32>, Timestamp, PolicyKey) {
    (
        Reverse(policy.priority()),
        policy.created(),
        policy.key().clone(),
    )
}

/// Where a policy may claim to decide: the service (none: all), the operation (none: all).
type Place = (Option<ServiceName>, Option<OperationName>);

/// Who decides where; the first claim to a place stands, so policies come winners first.
#[derive(Default)]
struct Claims<'a> {
    head: BTreeMap<&'a Namespace, BTreeMap<Place, &'a Policy>>,
    tail: BTreeMap<&'a Namespace, BTreeMap<Place, &'a Policy>>,
}

impl<'a> Claims<'a> {
    fn of(ranked: &[&'a Policy]) -> Self {
        let mut claims = Self::default();
        for policy in ranked {
            for place in places(policy) {
                let namespace = &policy.key().namespace;
                if policy.head().is_some() {
                    claims
                        .head
                        .entry(namespace)
                        .or_default()
                        .entry(place.clone())
                        .or_insert(policy);
                }
                if policy.tail().is_some() {
                    claims
                        .tail
                        .entry(namespace)
                        .or_default()
                        .entry(place)
                        .or_insert(policy);
                }
            }
        }
        claims
    }

    fn outcome(&self, policy: &Policy) -> Outcome {
        let mut outcome = Outcome {
            acceptance: Acceptance::Accepted,
            effective: vec![],
            overridden: vec![],
            warnings: warnings(policy),
        };
        let head = policy.head().map(Setting::Head);
        let tail = policy.tail().map(|tail| Setting::Tail {
            otherwise: tail.otherwise(),
        });
        for (claims, setting) in [(&self.head, head), (&self.tail, tail)] {
            let (Some(setting), Some(claims)) = (setting, claims.get(&policy.key().namespace))
            else {
                continue;
            };
            for place in places(policy) {
                place_outcome(policy, claims, place, &setting, &mut outcome);
            }
        }
        let winners: BTreeSet<PolicyName> = outcome
            .overridden
            .iter()
            .map(|overridden| overridden.by.clone())
            .collect();
        outcome.acceptance = match (winners.is_empty(), outcome.effective.is_empty()) {
            (true, _) => Acceptance::Accepted,
            (false, false) => Acceptance::PartiallyOverridden(winners),
            (false, true) => Acceptance::Conflicted(winners),
        };
        outcome
    }

    fn tail_table(&self) -> TailTable {
        let mut table = TailTable::default();
        for (namespace, claims) in &self.tail {
            let of_namespace: &mut NamespaceTail =
                table.namespaces.entry((*namespace).clone()).or_default();
            for ((service, operation), policy) in claims {
                let Some(tail) = policy.tail() else { continue };
                let entry = (policy.key().name.clone(), tail.clone());
                let of_service: &mut ServiceTail = match service {
                    Some(service) => of_namespace.services.entry(service.clone()).or_default(),
                    None => &mut of_namespace.otherwise,
                };
                match operation {
                    Some(operation) => {
                        of_service.operations.insert(operation.clone(), entry);
                    }
                    None => of_service.otherwise = Some(entry),
                }
            }
        }
        table
    }
}

/// Says of one place that a policy asks for whether it decides there, and who does where it
/// does not: the winner of the place itself, and those with a more specific one inside it.
fn place_outcome(
    policy: &Policy,
    claims: &BTreeMap<Place, &Policy>,
    place: Place,
    setting: &Setting,
    outcome: &mut Outcome,
) {
    let is_self = |other: &Policy| other.key() == policy.key();
    match claims.get(&place) {
        Some(winner) if is_self(winner) => {
            let (service, operation) = place.clone();
            outcome.effective.push(Effective {
                service,
                operation,
                setting: setting.clone(),
            });
            let inside = claims
                .iter()
                .filter(|(other, winner)| is_inside(other, &place) && !is_self(winner));
            for ((service, operation), winner) in inside {
                outcome.overridden.push(Overridden {
                    service: service.clone(),
                    operation: operation.clone(),
                    by: winner.key().name.clone(),
                });
            }
        }
        Some(winner) => {
            let (service, operation) = place;
            let by = winner.key().name.clone();
            outcome.overridden.push(Overridden {
                service,
                operation,
                by,
            });
        }
        None => {}
    }
}

fn is_inside(inner: &Place, outer: &Place) -> bool {
    match outer {
        (None, None) => *inner != (None, None),
        (Some(_), None) => inner.0 == outer.0 && inner.1.is_some(),
        _ => false,
    }
}

fn places(policy: &Policy) -> Vec<Place> {
    if policy.targets().is_empty() {
        return vec![(None, None)];
    }
    let mut places = vec![];
    for target in policy.targets() {
        let service = Some(target.service.clone());
        if target.operations.is_empty() {
            places.push((service, None));
        } else {
            places.extend(
                target
                    .operations
                    .iter()
                    .map(|operation| (service.clone(), Some(operation.clone()))),
            );
        }
    }
    places
}

fn warnings(policy: &Policy) -> Vec<String> {
    let (Some(Strategy::Probability(head)), Some(tail)) = (policy.head(), policy.tail()) else {
        return vec![];
    };
    if head == Probability::ALWAYS || tail.keep().is_empty() {
        return vec![];
    }
    vec![format!(
        "head {head} comes first: the rules in `tail.keep` see only {head} of the traces they would keep"
    )]
}

/// The plans of every service that a policy names, and of the rest, with a phase for each expiry.
fn table(ranked: &[&Policy], expiries: &BTreeSet<Timestamp>) -> Table {
    let mut table = Table::default();
    let namespaces: BTreeSet<&Namespace> = ranked.iter().map(|p| &p.key().namespace).collect();
    for namespace in namespaces {
        let of_namespace: Vec<&Policy> = ranked
            .iter()
            .copied()
            .filter(|p| p.key().namespace == *namespace)
            .collect();
        let services: BTreeSet<&ServiceName> = of_namespace
            .iter()
            .filter(|policy| policy.head().is_some())
            .flat_map(|policy| policy.targets().iter().map(|target| &target.service))
            .collect();
        let plans = NamespacePlans {
            others: plan(&of_namespace, None, expiries),
            services: services
                .into_iter()
                .map(|service| {
                    (
                        service.clone(),
                        plan(&of_namespace, Some(service), expiries),
                    )
                })
                .collect(),
        };
        table.namespaces.insert(namespace.clone(), plans);
    }
    table
}

/// One service's plan: its strategies now, and again from each expiry that changes them.
fn plan(ranked: &[&Policy], service: Option<&ServiceName>, expiries: &BTreeSet<Timestamp>) -> Plan {
    let mut phases: Vec<Phase> = vec![Phase {
        until: None,
        strategies: strategies(ranked, service, None),
    }];
    for expiry in expiries {
        let after = strategies(ranked, service, Some(*expiry));
        let Some(last) = phases.last_mut() else { break };
        if after == last.strategies {
            continue;
        }
        last.until = Some(*expiry);
        phases.push(Phase {
            until: None,
            strategies: after,
        });
        if phases.len() == MAX_PHASES {
            break;
        }
    }
    Plan { phases }
}

/// A service's strategies once all that expire by a time are gone.
fn strategies(
    ranked: &[&Policy],
    service: Option<&ServiceName>,
    gone_by: Option<Timestamp>,
) -> Strategies {
    let mut found = Strategies::default();
    let mut of_namespace = None;
    for policy in ranked {
        let gone = policy
            .expires_at()
            .zip(gone_by)
            .is_some_and(|(end, by)| end <= by);
        let (false, Some(strategy)) = (gone, policy.head()) else {
            continue;
        };
        let assigned = || Assigned {
            strategy,
            policy: policy.key().name.clone(),
        };
        if policy.targets().is_empty() {
            of_namespace.get_or_insert_with(assigned);
        }
        for target in policy
            .targets()
            .iter()
            .filter(|target| Some(&target.service) == service)
        {
            if target.operations.is_empty() {
                found.default.get_or_insert_with(assigned);
            }
            for operation in &target.operations {
                found
                    .operations
                    .entry(operation.clone())
                    .or_insert_with(assigned);
            }
        }
    }
    found.default = found.default.or(of_namespace);
    found
}
