//! The services that policies may apply to.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use spoor_control::Control;
use spoor_policy::{Namespace, OperationName, Policy, PolicyKey, ServiceName};
use spoor_traces::Pipeline;

use super::Inner;

/// The most operations of a service with which those of a policy are compared. Clients choose the
/// names of spans.
const MAX_OPERATIONS: usize = 1_000;

/// The most services whose operations are read for one change, which may name thousands.
const MAX_SERVICES: usize = 64;

/// The longest time to read names from the trace store for one change or listing. Usually it takes
/// milliseconds. During a listing, other requests wait for the policy store's lock.
const MAX_READ_TIME: Duration = Duration::from_millis(500);

/// The services that policies may apply to. Those of a namespace are read from the control plane at
/// most twice, and those in the trace store once for all namespaces, since a thousand policies may be
/// compared with as many services as clients have named.
pub(super) struct KnownServices<'a> {
    control: &'a Control,
    pipeline: &'a Pipeline,
    namespaces: BTreeSet<Namespace>,
    deadline: Instant,
    with_instances: BTreeMap<Namespace, BTreeSet<ServiceName>>,
    /// `None` until a policy needs them.
    with_spans: Option<BTreeMap<Namespace, BTreeSet<ServiceName>>>,
    operations: BTreeMap<(Namespace, ServiceName), Arc<BTreeSet<OperationName>>>,
}

impl<'a> KnownServices<'a> {
    /// Creates the lookup for policies with these keys.
    pub(super) fn of<'k>(inner: &'a Inner, keys: impl Iterator<Item = &'k PolicyKey>) -> Self {
        Self {
            control: &inner.control,
            pipeline: &inner.pipeline,
            namespaces: keys.map(|key| key.namespace.clone()).collect(),
            deadline: Instant::now() + MAX_READ_TIME,
            with_instances: BTreeMap::new(),
            with_spans: None,
            operations: BTreeMap::new(),
        }
    }

    /// The operations that have started traces in a service, according to the root spans that were
    /// kept and to its counts of decisions. Empty if the policy cannot apply to the service, for
    /// services beyond the first [`MAX_SERVICES`], and if the store has too many names or does not
    /// list them in time.
    pub(super) fn operations(
        &mut self,
        policy: &Policy,
        service: &ServiceName,
    ) -> Arc<BTreeSet<OperationName>> {
        if !self.for_policy(policy).contains(service) {
            return Arc::default();
        }
        let namespace = &policy.key.namespace;
        let key = (namespace.clone(), service.clone());
        if self.operations.len() >= MAX_SERVICES && !self.operations.contains_key(&key) {
            return Arc::default();
        }
        let reported = self.operations.entry(key).or_insert_with(|| {
            let counted = self.control.operations_seen(namespace, service);
            let store = self.pipeline.store();
            let stored = store.root_operations(self.deadline, service.as_str(), MAX_OPERATIONS);
            // With an incomplete list, a known name could seem unknown.
            let Some(stored) = stored else {
                return Arc::default();
            };
            let stored = stored.iter().filter_map(|it| OperationName::new(it).ok());
            Arc::new(stored.chain(counted).collect())
        });
        Arc::clone(reported)
    }

    /// The services that have instances or polling clients. If a policy with only tail rules names
    /// another service, the result includes the services that have sent spans, as unmodified SDKs do.
    /// If those could not all be read in time, it also includes every service that the policy names.
    pub(super) fn for_policy(&mut self, policy: &Policy) -> &BTreeSet<ServiceName> {
        let namespace = &policy.key.namespace;
        let with_instances = self
            .with_instances
            .entry(namespace.clone())
            .or_insert_with(|| self.control.known_services(namespace));
        let mut named = policy.targets.iter().map(|target| &target.service);
        // The store is read only if necessary, since reading all its names takes longer than the rest
        // of a status.
        if policy.head.is_some() || named.all(|service| with_instances.contains(service)) {
            return with_instances;
        }
        let with_spans = self.with_spans.get_or_insert_with(|| {
            let mut known = self.pipeline.services_in(self.deadline, &self.namespaces);
            for (namespace, services) in &mut known {
                services.extend(self.control.known_services(namespace));
            }
            known
        });
        let known = with_spans.entry(namespace.clone()).or_default();
        // With an incomplete list, a known name could seem unknown.
        if Instant::now() >= self.deadline {
            known.extend(policy.targets.iter().map(|it| it.service.clone()));
        }
        known
    }
}
