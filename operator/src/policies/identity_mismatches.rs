//! Pods that claim to be a service that their labels do not name.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use spoor_policy::{Namespace, ServiceName, message::listed};

use super::pods::{Pod, SERVICE_LABEL};

/// The most mismatches that are remembered.
const MAX_MISMATCHES: usize = 1_000;
/// The time for which a mismatch is remembered, longer than an SDK's polling interval.
const MISMATCH_TTL: Duration = Duration::from_secs(600);
/// The most pods that a message names.
const MAX_NAMED_PODS: usize = 5;

/// The recent mismatches.
#[derive(Debug, Default)]
pub(super) struct IdentityMismatches(Mutex<BTreeMap<Mismatch, Instant>>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Mismatch {
    namespace: Namespace,
    service: ServiceName,
    pod: String,
    /// The service in the pod's labels.
    actual: Option<ServiceName>,
}

impl IdentityMismatches {
    /// Records that a pod claimed to be a service.
    pub(super) fn record(&self, pod: &Pod, service: &ServiceName, now: Instant) {
        let mismatch = Mismatch {
            namespace: pod.namespace.clone(),
            service: service.clone(),
            pod: pod.name.clone(),
            actual: pod.service.clone(),
        };
        let mut mismatches = self.0.lock();
        if mismatches.len() >= MAX_MISMATCHES && !mismatches.contains_key(&mismatch) {
            mismatches.retain(|_, at| is_recent(*at, now));
        }
        // When the table is full, new mismatches are dropped instead of old ones, so that a pod
        // that claims one service after another cannot displace a mismatch that a user is looking
        // for.
        if mismatches.len() < MAX_MISMATCHES || mismatches.contains_key(&mismatch) {
            mismatches.insert(mismatch, now);
        }
    }

    /// The message for the authors of policies for a service, without a full stop. `is_unchanged`
    /// returns true if a pod's labels still name this service, or still none.
    pub(super) fn message_for(
        &self,
        namespace: &Namespace,
        service: &ServiceName,
        is_unchanged: impl Fn(&str, Option<&ServiceName>) -> bool,
        now: Instant,
    ) -> Option<String> {
        let mismatches = self.0.lock();
        let of_service = mismatches.iter().filter(|(mismatch, at)| {
            (&mismatch.namespace, &mismatch.service) == (namespace, service) && is_recent(**at, now)
        });
        let pods: Vec<String> = of_service
            .map(|(mismatch, _)| mismatch)
            // A pod that has been labelled since would otherwise be reported for ten more minutes.
            .filter(|mismatch| is_unchanged(&mismatch.pod, mismatch.actual.as_ref()))
            .map(|mismatch| match &mismatch.actual {
                Some(actual) => format!("{} (labelled {actual})", mismatch.pod),
                None => mismatch.pod.clone(),
            })
            .collect();
        let named = listed(&pods, MAX_NAMED_PODS);
        (!pods.is_empty()).then(|| {
            format!(
                "refused pods that claim to be {service} without the label \
                 {SERVICE_LABEL}={service}: {named}"
            )
        })
    }
}

fn is_recent(at: Instant, now: Instant) -> bool {
    now.saturating_duration_since(at) <= MISMATCH_TTL
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn pod(name: &str, service: Option<&str>) -> Pod {
        Pod {
            namespace: Namespace::default(),
            name: name.to_owned(),
            uid: String::new(),
            service: service.map(|it| it.parse().unwrap()),
            has_spoor_label: false,
            is_ready: true,
            is_collector: false,
            sampler_of: None,
            addresses: vec![],
        }
    }

    #[test]
    fn pods_without_the_label_are_named() {
        let mismatches = IdentityMismatches::default();
        let service: ServiceName = "a".parse().unwrap();
        let start = Instant::now();
        mismatches.record(&pod("one", None), &service, start);
        mismatches.record(&pod("two", Some("b")), &service, start);
        mismatches.record(&pod("three", None), &"c".parse().unwrap(), start);
        let note = |is_unchanged: fn(&str, Option<&ServiceName>) -> bool, after| {
            let now = start + Duration::from_secs(after);
            mismatches.message_for(&Namespace::default(), &service, is_unchanged, now)
        };
        let expected = "refused pods that claim to be a without the label spoor.dev/service=a: one, two (labelled b)";
        assert_eq!(note(|_, _| true, 0).as_deref(), Some(expected));
        assert!(!note(|pod, _| pod == "two", 0).unwrap().contains("one"));
        assert_eq!(note(|_, _| false, 0), None, "the pods have the label now");
        assert_eq!(
            note(|_, _| true, 601),
            None,
            "the pods have not polled recently"
        );
    }

    #[test]
    fn mismatches_are_bounded() {
        let mismatches = IdentityMismatches::default();
        let now = Instant::now();
        for number in 0..2 * MAX_MISMATCHES {
            let pod = pod(&number.to_string(), None);
            mismatches.record(&pod, &"a".parse().unwrap(), now);
        }
        assert_eq!(mismatches.0.lock().len(), MAX_MISMATCHES);
    }
}
