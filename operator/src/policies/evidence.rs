//! The evidence about the clients that should apply a policy.

use std::{collections::BTreeSet, time::Instant};

use spoor_control::{Control, Evidence, EvidenceReader, SamplerState, TailCounts};
use spoor_policy::{Namespace, PolicyKey, ServiceName};

use super::{identity_mismatches::IdentityMismatches, pods::Pod};
use crate::kubernetes::watch::{Key, ObjectStore};

/// The sources of evidence.
pub(super) struct EvidenceSources<'a> {
    pub(super) control: &'a Control,
    pub(super) pods: &'a ObjectStore<Pod>,
    pub(super) mismatches: &'a IdentityMismatches,
}

/// The evidence about one policy.
#[derive(Clone, Debug, Default)]
pub(super) struct PolicyEvidence {
    pub(super) evidence: Option<Evidence>,
    /// The samplers of its namespace that are connected or were.
    pub(super) samplers: Vec<SamplerState>,
    /// Their decisions by the policy's tail.
    pub(super) decisions: Option<TailCounts>,
    /// All services of the policy's namespace, if a service that the policy names has no instance;
    /// otherwise empty.
    pub(super) services: BTreeSet<ServiceName>,
    /// Notes about refused pods, each a sentence without a full stop.
    pub(super) notes: Vec<String>,
}

impl EvidenceSources<'_> {
    /// Collects the evidence about a policy.
    pub(super) fn collect(
        &self,
        reader: &mut EvidenceReader<'_>,
        policy: &PolicyKey,
    ) -> PolicyEvidence {
        let evidence = reader.read(policy);
        let services = evidence.iter().flat_map(|evidence| &evidence.services);
        let now = Instant::now();
        let (mut notes, mut is_missing) = (vec![], false);
        for service in services {
            is_missing |= service.instances == 0;
            notes.extend(self.note(&policy.namespace, &service.service, now));
        }
        // There are many pods, so they are searched only where a service has no instance.
        let services = is_missing.then(|| self.services(&policy.namespace));
        PolicyEvidence {
            evidence,
            samplers: self.control.samplers(&policy.namespace),
            decisions: self.control.tail_counts(policy),
            services: services.unwrap_or_default(),
            notes,
        }
    }

    fn note(&self, namespace: &Namespace, service: &ServiceName, now: Instant) -> Option<String> {
        let is_unchanged = |pod: &str, actual: Option<&ServiceName>| {
            let key = Key {
                namespace: namespace.to_string(),
                name: pod.to_owned(),
            };
            let pod = self.pods.get(&key);
            pod.is_some_and(|pod| pod.service.as_ref() == actual)
        };
        self.mismatches
            .message_for(namespace, service, is_unchanged, now)
    }

    fn services(&self, namespace: &Namespace) -> BTreeSet<ServiceName> {
        let pods = self.pods.in_namespace(namespace.as_str());
        let labelled = pods.iter().filter_map(|pod| pod.service.clone());
        let known = self.control.known_services(namespace);
        known.into_iter().chain(labelled).collect()
    }
}
