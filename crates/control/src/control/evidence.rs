//! Gathers the evidence of a policy's effect.

use std::{
    collections::{BTreeMap, BTreeSet},
    iter,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use spoor_policy::{Namespace, OperationName, PolicyKey, ServiceName};

use super::Control;
use crate::{
    evidence::{
        ClientCounts, Evidence, MAX_LISTED, NotCurrentReason, OperationEvidence, ServiceEvidence,
    },
    jaeger_strategy,
    record::PlanState,
    served_plan::strategy_of,
    service::Service,
};

/// The number of a service's root decisions, under plans that name an operation, after which that
/// operation is reported as not seen if it has none.
const MIN_ROOTS_FOR_UNSEEN: u64 = 20;

/// The time for which a service must have reported before it is reported to start no traces, since
/// its other instances may report later.
const MIN_REPORTING_TIME: Duration = Duration::from_secs(5);

/// Reads the evidence of several policies. The services of each namespace are listed once, since
/// there may be a thousand policies, and thousands of services.
#[derive(Debug)]
pub struct EvidenceReader<'a> {
    control: &'a Control,
    namespaces: BTreeMap<Namespace, NamespaceServices>,
}

/// The services of a namespace that have or had instances.
#[derive(Debug)]
struct NamespaceServices {
    running: BTreeMap<ServiceName, Arc<Service>>,
    root_services: Vec<ServiceName>,
    /// The clients of the services read so far. They are counted once, since many policies may apply
    /// to one service, which may have thousands of clients.
    clients: BTreeMap<ServiceName, CountedClients>,
}

/// The clients of one service, and the longest time that one took to acknowledge its plan.
type CountedClients = (ClientCounts, Option<Duration>);

impl EvidenceReader<'_> {
    /// Like [`Control::evidence`], except that the services of a namespace are those known when its
    /// first policy was read, and that the clients of each service are counted once.
    pub fn read(&mut self, policy: &PolicyKey) -> Option<Evidence> {
        let (control, namespace) = (self.control, &policy.namespace);
        let services = self.namespaces.entry(namespace.clone());
        let services = services.or_insert_with(|| control.services_in(namespace));
        control.evidence_among(policy, services)
    }
}

impl Control {
    /// The operations under which traces of a service have started, as far as they are remembered.
    /// Clients report only those that a plan names, whether sampled or not.
    #[must_use]
    pub fn operations_seen(
        &self,
        namespace: &Namespace,
        service: &ServiceName,
    ) -> BTreeSet<OperationName> {
        let service = self.0.services.get(&(namespace.clone(), service.clone()));
        service.map_or_else(BTreeSet::new, |it| it.state().operations_seen.clone())
    }

    /// The evidence of a policy's effect.
    ///
    /// `None` before the first publication, and if the policy can have none: it does not exist, has
    /// expired, is overridden everywhere, or has only tail rules and names no service.
    #[must_use]
    pub fn evidence(&self, policy: &PolicyKey) -> Option<Evidence> {
        self.evidence_reader().read(policy)
    }

    /// A reader of the evidence of several policies.
    #[must_use]
    pub fn evidence_reader(&self) -> EvidenceReader<'_> {
        EvidenceReader {
            control: self,
            namespaces: BTreeMap::new(),
        }
    }

    fn evidence_among(
        &self,
        policy: &PolicyKey,
        known: &mut NamespaceServices,
    ) -> Option<Evidence> {
        let published = self.0.published.load_full()?;
        let now = Instant::now();
        let services = published.services_of(policy, &known.running);
        let mut evidence = Evidence {
            root_services: known.root_services.clone(),
            ..Evidence::default()
        };
        let nowhere = BTreeMap::new();
        let tail = published.tail.get(policy).unwrap_or(&nowhere);
        // For services that no policy with a head names.
        let others = published.table.plan(policy.namespace.as_str(), "");
        let others = others.at(Timestamp::now());
        let mut strategy = others.and_then(|it| strategy_of(it, policy));
        let mut sharers = vec![];
        for (name, service) in services {
            let service = service.map(|it| &**it);
            let plan = published
                .table
                .plan(policy.namespace.as_str(), name.as_str());
            let strategies = plan.at(Timestamp::now());
            let head = strategies.and_then(|it| Some((it, strategy_of(it, policy)?)));
            // Counted at places of tail rules too, since the number of instances shows whether the
            // service exists.
            let clients = known.clients.entry(name.clone());
            let count = || self.count_clients(&policy.namespace, &name, service, now);
            let (clients, took) = clients.or_insert_with(count).clone();
            let mut operations = tail.get(&name).cloned().unwrap_or_default();
            if let Some((strategies, here)) = head {
                strategy = Some(here);
                evidence.slowest = evidence.slowest.max(took);
                let decided = strategies.operations.iter();
                let decided = decided.filter(|(_, assigned)| assigned.policy == policy.name);
                operations.extend(decided.map(|(operation, _)| operation.clone()));
            } else if !tail.contains_key(&name) {
                continue;
            }
            let found = ServiceEvidence {
                instances: clients.expected,
                is_partly_expressible: head
                    .is_some_and(|(it, _)| !jaeger_strategy::is_expressible(it, &policy.name)),
                ..self.service_evidence(&name, service, operations, now)
            };
            if head.is_some() {
                evidence.clients.add(clients);
            }
            if head.is_some() && found.has_roots {
                // A rate limit applies to the service, or to each operation that the policy names.
                let seen = found.operations.iter().filter(|it| it.seen != Some(false));
                sharers.extend(iter::repeat_n(found.instances, seen.count().max(1)));
            }
            evidence.services.push(found);
        }
        match strategy {
            Some(strategy) => {
                evidence.observed = self.0.tallies.observed(policy, strategy, &sharers, now);
            }
            None if tail.is_empty() => return None,
            None => {}
        }
        Some(evidence)
    }

    fn service_evidence(
        &self,
        name: &ServiceName,
        service: Option<&Service>,
        operations: BTreeSet<OperationName>,
        now: Instant,
    ) -> ServiceEvidence {
        let state = service.map(Service::state);
        let has_streams = state.as_ref().is_some_and(|it| it.connected > 0);
        let is_recent = |at| now.saturating_duration_since(at) <= self.0.settings.reporting_for;
        let is_seen = |operation: &OperationName| {
            let state = state.as_ref().filter(|_| has_streams)?;
            if state.operations_seen.contains(operation) {
                return Some(true);
            }
            // Under other plans, clients did not count this operation separately.
            let roots = state.history.roots_where_named(operation);
            (roots >= MIN_ROOTS_FOR_UNSEEN).then_some(false)
        };
        let operations = operations.into_iter().map(|operation| OperationEvidence {
            seen: is_seen(&operation),
            operation,
        });
        let last_sdk_report = state.as_ref().and_then(|it| it.last_sdk_report);
        let first_report = state.as_ref().and_then(|it| it.first_report);
        let is_old = |at| now.saturating_duration_since(at) >= MIN_REPORTING_TIME;
        ServiceEvidence {
            service: name.clone(),
            instances: 0,
            operations: operations.collect(),
            has_reports: has_streams && first_report.is_some_and(is_old)
                || last_sdk_report.is_some_and(is_recent),
            has_roots: state.as_ref().is_some_and(|it| it.has_roots),
            is_partly_expressible: false,
        }
    }

    fn services_in(&self, namespace: &Namespace) -> NamespaceServices {
        let running = self.0.services.in_namespace(namespace);
        let with_roots = running.iter().filter(|(_, it)| it.state().has_roots);
        let root_services = with_roots.take(MAX_LISTED).map(|(name, _)| name.clone());
        NamespaceServices {
            root_services: root_services.collect(),
            running,
            clients: BTreeMap::new(),
        }
    }

    /// Counts the instances of all services by state, without polling clients.
    #[must_use]
    pub fn instance_counts(&self) -> ClientCounts {
        let mut all = ClientCounts::default();
        for service in self.0.services.all() {
            all.add(self.count_instances(&service, Instant::now()).0);
        }
        all
    }

    fn count_instances(&self, service: &Service, now: Instant) -> CountedClients {
        let (mut clients, mut slowest) = (ClientCounts::default(), None);
        let (name, state) = (&service.key.1, service.state());
        for (id, processes) in state.expected_or_connected() {
            clients.expected += 1;
            let Some(processes) = processes else {
                clients.never_asked += 1;
                clients.list(name, id, NotCurrentReason::NeverAsked);
                continue;
            };
            let silent_after = self.0.settings.silent_after;
            match processes.plan_state(state.served.as_deref(), silent_after, now) {
                PlanState::Current => {
                    clients.current += 1;
                    slowest = slowest.max(processes.took());
                }
                PlanState::Refused(reason) => {
                    clients.refused += 1;
                    clients.list(name, id, NotCurrentReason::Refused(reason));
                }
                PlanState::Silent => {
                    clients.silent += 1;
                    clients.list(name, id, NotCurrentReason::Silent);
                }
                PlanState::Pending => clients.list(name, id, NotCurrentReason::Pending),
            }
        }
        (clients, slowest)
    }

    fn count_clients(
        &self,
        namespace: &Namespace,
        name: &ServiceName,
        service: Option<&Service>,
        now: Instant,
    ) -> CountedClients {
        let instances = service.map(|service| self.count_instances(service, now));
        let (mut clients, slowest) = instances.unwrap_or_default();
        let key = (namespace.clone(), name.clone());
        let polling = self.0.pollers.clients(&key, now);
        let total = polling.total;
        // Polling clients have no ID. They are most likely the expected instances that have no
        // stream.
        let matched = clients.never_asked.min(total);
        clients.never_asked -= matched;
        if matched > 0 {
            // It is not known which of these poll, so none of them is listed as never having asked.
            let listed = &mut clients.not_current;
            listed.retain(|it| it.reason != NotCurrentReason::NeverAsked);
        }
        clients.expected += total - matched;
        clients.polling += total;
        for (address, here) in polling.by_address.iter().take(MAX_LISTED) {
            for number in 1..=*here {
                let instance = match here {
                    1 => address.to_string(),
                    _ => format!("{address} ({number} of {here})"),
                };
                clients.list(name, &instance, NotCurrentReason::Polling);
            }
        }
        (clients, slowest)
    }
}
