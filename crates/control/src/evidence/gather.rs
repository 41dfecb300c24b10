//! Puts together what is known of a policy.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use spoor_policy::{
    OperationName, PolicyKey, ServiceName, Strategies, Strategy, statistics::Verdict,
};

use super::{Clients, Evidence, Observed, OperationEvidence, ServiceEvidence, Source, Why};
use crate::{
    Control, control::Published, doors::stock, record::Standing, served, service::Service,
    tally::Tally,
};

/// Root decisions of a service after which an operation that is not among them is said to be
/// missing.
const MIN_ROOTS_WITHOUT: u64 = 20;

/// A service that reports no root decision for this long is said to start no trace: the reports
/// of others may come first.
const MIN_REPORTING_TIME: Duration = Duration::from_secs(5);

impl Control {
    /// What is known of a policy; none if it decides where no trace starts: it does not exist,
    /// names no service and has no `head`, or is overridden everywhere.
    #[must_use]
    pub fn evidence(&self, policy: &PolicyKey) -> Option<Evidence> {
        let published = self.0.published.load_full()?;
        let now = Instant::now();
        let known = self.namespace_services(policy, &published);
        let roots_at = known
            .iter()
            .filter(|(_, service)| service.as_ref().is_some_and(|it| it.state().has_roots))
            .map(|(name, _)| name.clone())
            .collect();
        let mut evidence = Evidence {
            clients: Clients::default(),
            slowest: None,
            observed: None,
            services: vec![],
            roots_at,
        };
        let nowhere = BTreeMap::new();
        let tail = published.tail.get(policy).unwrap_or(&nowhere);
        let mut strategy = decided_elsewhere(&published, policy);
        for (name, service) in known {
            let plan = published
                .table
                .plan(policy.namespace.as_str(), name.as_str());
            let strategies = plan.at(Timestamp::now());
            let head = strategies.and_then(|it| Some((it, decided_by(it, policy)?)));
            let mut clients = Clients::default();
            let took = self.count_clients(policy, &name, service.as_deref(), now, &mut clients);
            let mut operations = tail.get(&name).cloned().unwrap_or_default();
            if let Some((strategies, here)) = head {
                strategy = Some(here);
                evidence.slowest = evidence.slowest.max(took);
                operations.extend(operations_of(strategies, policy));
            } else if !tail.contains_key(&name) {
                continue;
            }
            evidence.services.push(ServiceEvidence {
                instances: clients.expected,
                partly_expressible: head
                    .is_some_and(|(it, _)| !stock::is_expressible(it, &policy.name)),
                ..self.of_service(&name, service.as_deref(), operations, now)
            });
            if head.is_some() {
                evidence.clients.add(clients);
            }
        }
        match strategy {
            Some(strategy) => evidence.observed = self.observed(policy, strategy, now),
            None if tail.is_empty() => return None,
            None => {}
        }
        Some(evidence)
    }

    fn observed(&self, policy: &PolicyKey, strategy: Strategy, now: Instant) -> Option<Observed> {
        let key = (policy.namespace.clone(), policy.name.clone(), strategy);
        let observed_in = |tallies: &mut HashMap<_, Tally>| tallies.get_mut(&key)?.observed(now);
        observed_in(&mut self.0.tallies.lock()).or_else(|| {
            let observed = self.0.reported.lock().get_mut(&key)?.observed(now)?;
            Some(Observed {
                source: Source::Reported,
                verdict: Verdict::Unknown,
                ..observed
            })
        })
    }

    fn of_service(
        &self,
        name: &ServiceName,
        service: Option<&Service>,
        operations: BTreeSet<OperationName>,
        now: Instant,
    ) -> ServiceEvidence {
        let state = service.map(Service::state);
        let has_streams = state.as_ref().is_some_and(|it| it.live > 0);
        let is_recent = |at| now.saturating_duration_since(at) <= self.0.settings.reporting_for;
        let is_seen = |operation: &OperationName| {
            let state = state.as_ref().filter(|_| has_streams)?;
            if state.operations_seen.contains(operation) {
                return Some(true);
            }
            // Before that, nobody was asked to tell this operation from others.
            let told = state.history.roots_where_named(operation);
            (told >= MIN_ROOTS_WITHOUT).then_some(false)
        };
        let operations = operations.into_iter().map(|operation| OperationEvidence {
            seen: is_seen(&operation),
            operation,
        });
        let reported = state.as_ref().and_then(|it| it.reported);
        let first_report = state.as_ref().and_then(|it| it.first_report);
        let is_old = |at| now.saturating_duration_since(at) >= MIN_REPORTING_TIME;
        ServiceEvidence {
            service: name.clone(),
            instances: 0,
            operations: operations.collect(),
            reports: has_streams && first_report.is_some_and(is_old)
                || reported.is_some_and(is_recent),
            roots_seen: state.as_ref().is_some_and(|it| it.has_roots),
            partly_expressible: false,
        }
    }

    /// The services of a policy's namespace that instances or policies name.
    fn namespace_services(
        &self,
        policy: &PolicyKey,
        published: &Published,
    ) -> BTreeMap<ServiceName, Option<Arc<Service>>> {
        let named = published
            .table
            .services()
            .filter(|(namespace, _, _)| **namespace == policy.namespace)
            .map(|(_, name, _)| (name.clone(), None));
        let tail = published.tail.get(policy).into_iter().flatten();
        let tail = tail.map(|(name, _)| (name.clone(), None));
        let mut known: BTreeMap<_, _> = named.chain(tail).collect();
        let entered = self.0.services.all().into_iter();
        known.extend(
            entered
                .filter(|service| service.namespace == policy.namespace)
                .map(|service| (service.name.clone(), Some(service))),
        );
        known
    }

    fn count_clients(
        &self,
        policy: &PolicyKey,
        name: &ServiceName,
        service: Option<&Service>,
        now: Instant,
        clients: &mut Clients,
    ) -> Option<Duration> {
        let mut slowest = None;
        if let Some(service) = service {
            let state = service.state();
            for (id, processes) in state.relevant() {
                clients.expected += 1;
                let Some(processes) = processes else {
                    clients.never_asked += 1;
                    clients.name(name, id, Why::NeverAsked);
                    continue;
                };
                let silent_after = self.0.settings.silent_after;
                match processes.standing(state.served.as_deref(), silent_after, now) {
                    Standing::Current => {
                        clients.current += 1;
                        slowest = slowest.max(processes.took());
                    }
                    Standing::Refused(reason) => {
                        clients.refused += 1;
                        clients.name(name, id, Why::Refused(reason));
                    }
                    Standing::Silent => {
                        clients.silent += 1;
                        clients.name(name, id, Why::Silent);
                    }
                    Standing::Pending => clients.name(name, id, Why::Pending),
                }
            }
        }
        let key = (policy.namespace.clone(), name.clone());
        let polling = self.0.pollers.clients(&key, now);
        let total: usize = polling.values().sum();
        // Those who poll are most likely those who should be there and have no stream.
        let found = clients.never_asked.min(total);
        clients.never_asked -= found;
        clients.expected += total - found;
        clients.polling += total;
        for (address, here) in polling {
            for number in 1..=here {
                let instance = match here {
                    1 => address.to_string(),
                    _ => format!("{address} ({number} of {here})"),
                };
                clients.name(name, &instance, Why::Polling);
            }
        }
        slowest
    }
}

/// What a policy says for the services that no policy names.
fn decided_elsewhere(published: &Published, policy: &PolicyKey) -> Option<Strategy> {
    let others = published.table.plan(policy.namespace.as_str(), "");
    decided_by(others.at(Timestamp::now())?, policy)
}

fn decided_by(strategies: &Strategies, policy: &PolicyKey) -> Option<Strategy> {
    served::assigned(strategies)
        .find(|assigned| assigned.policy == policy.name)
        .map(|assigned| assigned.strategy)
}

/// The operations that a policy decides the head of.
fn operations_of<'a>(
    strategies: &'a Strategies,
    policy: &'a PolicyKey,
) -> impl Iterator<Item = OperationName> + 'a {
    let of_policy = strategies
        .operations
        .iter()
        .filter(|(_, assigned)| assigned.policy == policy.name);
    of_policy.map(|(operation, _)| operation.clone())
}
