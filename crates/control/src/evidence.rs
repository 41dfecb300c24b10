//! Whether a policy really happens.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use spoor_policy::{
    OperationName, PolicyKey, ServiceName, Strategies, Strategy,
    statistics::{Interval, Verdict},
};

use crate::{
    Control, control::Published, doors::stock, record::Standing, served, service::Service,
};

/// The most instances that are named.
const MAX_NAMED: usize = 100;

/// What is known of a policy's effect.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    /// The instances of the services where it decides.
    pub clients: Clients,
    /// From publication to acknowledgement, of the slowest among the current instances.
    pub slowest: Option<Duration>,
    /// What was sampled lately; none before the first root decision under it.
    pub observed: Option<Observed>,
    /// The services where it decides.
    pub services: Vec<ServiceEvidence>,
    /// The services of its namespace in which traces have started.
    pub roots_at: Vec<ServiceName>,
}

/// Instances by where they stand; `expected` is the sum of all others and those still pending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clients {
    /// Who should be there, or is.
    pub expected: usize,
    /// They acknowledged the newest plan.
    pub current: usize,
    /// They did not take it.
    pub refused: usize,
    /// They ask at the stock doors, which confirms nothing.
    pub polling: usize,
    /// Nothing is heard of them.
    pub silent: usize,
    /// Those that are not current, up to 100 of them.
    pub not_current: Vec<NotCurrent>,
}

/// An instance that does not follow a policy, as far as is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotCurrent {
    /// Its service.
    pub service: ServiceName,
    /// Its id; a polling client's address.
    pub instance: String,
    /// What is the matter.
    pub why: Why,
}

/// Why an instance is not current.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// Its acknowledgement is still awaited.
    Pending,
    /// It refused, for this reason.
    Refused(String),
    /// Nothing is heard of it.
    Silent,
    /// It polls.
    Polling,
}

/// What was sampled in the last window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Observed {
    /// The window's length; shorter while the policy is young.
    pub window: Duration,
    /// Root decisions.
    pub started: u64,
    /// Those that keep the trace.
    pub sampled: u64,
    /// Their share, from 0.0 to 1.0.
    pub rate: f64,
    /// The shares that are plausible, at 95 %.
    pub interval: Interval,
    /// Whether it is what the policy asks for.
    pub verdict: Verdict,
}

/// A policy's effect on one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceEvidence {
    /// The service.
    pub service: ServiceName,
    /// Whether any trace has started there.
    pub roots_seen: bool,
    /// The operations that the policy names there.
    pub operations: Vec<OperationEvidence>,
    /// Whether stock clients can't be told all that the policy says there: they know no limit for
    /// one operation, and no operation beside a limit.
    pub partly_expressible: bool,
}

/// A policy's effect on one operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationEvidence {
    /// The operation.
    pub operation: OperationName,
    /// Whether any trace has started under this name.
    pub seen: bool,
}

impl Control {
    /// What is known of a policy; none if it decides where no trace starts: it does not exist,
    /// has no `head`, or is overridden everywhere.
    #[must_use]
    pub fn evidence(&self, policy: &PolicyKey) -> Option<Evidence> {
        let published = self.0.published.load_full()?;
        let now = Instant::now();
        let known = self.known_services(policy, &published);
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
        let mut strategy = decided_elsewhere(&published, policy);
        for (name, service) in known {
            let plan = published
                .table
                .plan(policy.namespace.as_str(), name.as_str());
            let Some(strategies) = plan.at(Timestamp::now()) else {
                continue;
            };
            let Some(here) = decided_by(strategies, policy) else {
                continue;
            };
            strategy = Some(here);
            evidence
                .services
                .push(of_service(&name, service.as_deref(), strategies, policy));
            self.count_clients(policy, &name, service.as_deref(), now, &mut evidence);
        }
        let key = (policy.namespace.clone(), policy.name.clone(), strategy?);
        if let Some(tally) = self.0.tallies.lock().get_mut(&key) {
            evidence.observed = tally.observed(now);
        }
        Some(evidence)
    }

    /// The services of a policy's namespace that instances or policies name.
    fn known_services(
        &self,
        policy: &PolicyKey,
        published: &Published,
    ) -> BTreeMap<ServiceName, Option<Arc<Service>>> {
        let named = published
            .table
            .services()
            .filter(|(namespace, _, _)| **namespace == policy.namespace)
            .map(|(_, name, _)| (name.clone(), None));
        let mut known: BTreeMap<_, _> = named.collect();
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
        evidence: &mut Evidence,
    ) {
        let clients = &mut evidence.clients;
        let (mut absent, mut has_streams) = (0, false);
        if let Some(service) = service {
            let state = service.state();
            has_streams = state.live > 0;
            for (id, record) in state.relevant() {
                clients.expected += 1;
                let silent_after = self.0.settings.silent_after;
                let standing = match record {
                    Some(record) => record.standing(state.served.as_deref(), silent_after, now),
                    None => Standing::Silent,
                };
                absent += usize::from(record.is_none());
                let took = record.and_then(|it| it.took);
                match standing {
                    Standing::Current => {
                        clients.current += 1;
                        evidence.slowest = evidence.slowest.max(took);
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
        let polling = self.0.pollers.clients(&key, has_streams, now);
        // Those who poll are most likely those who should be there and have no stream.
        let found = absent.min(polling.len());
        clients.silent -= found;
        clients.expected += polling.len() - found;
        clients.polling += polling.len();
        for peer in polling {
            clients.name(name, &peer.to_string(), Why::Polling);
        }
    }
}

impl Clients {
    /// Neither current nor anything else yet.
    #[must_use]
    pub fn pending(&self) -> usize {
        let known = self.current + self.refused + self.polling + self.silent;
        self.expected.saturating_sub(known)
    }

    fn name(&mut self, service: &ServiceName, instance: &str, why: Why) {
        if self.not_current.len() < MAX_NAMED {
            self.not_current.push(NotCurrent {
                service: service.clone(),
                instance: instance.to_owned(),
                why,
            });
        }
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

fn of_service(
    name: &ServiceName,
    service: Option<&Service>,
    strategies: &Strategies,
    policy: &PolicyKey,
) -> ServiceEvidence {
    let state = service.map(Service::state);
    let is_seen = |operation: &OperationName| {
        state
            .as_ref()
            .is_some_and(|it| it.operations_seen.contains(operation))
    };
    let operations = strategies
        .operations
        .iter()
        .filter(|(_, assigned)| assigned.policy == policy.name)
        .map(|(operation, _)| OperationEvidence {
            operation: operation.clone(),
            seen: is_seen(operation),
        });
    ServiceEvidence {
        service: name.clone(),
        roots_seen: state.as_ref().is_some_and(|it| it.has_roots),
        operations: operations.collect(),
        partly_expressible: !stock::is_expressible(strategies, &policy.name),
    }
}
