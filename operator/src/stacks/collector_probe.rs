//! Reads Collectors' metrics. The health of the deciding Collector's exporter is read before its
//! pod is replaced, since the pod would lose what it cannot send.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;

use super::{
    collector::{
        exporter::{ExporterHealth, ExporterReading},
        ports,
    },
    metrics_client::{MetricsClient, ReadError},
    pod_failure::not_terminating,
};
use crate::kubernetes::watch::Key;

/// The shortest interval between two readings that are compared.
const MIN_READING_INTERVAL: Duration = Duration::from_secs(2);
/// The age at which an earlier reading is too old to be compared.
const MAX_READING_AGE: Duration = Duration::from_secs(30);

/// Reads metrics, and keeps the last reading of each stack's deciding pod.
#[derive(Debug, Default)]
pub struct CollectorProbe {
    client: MetricsClient,
    last_readings: Mutex<HashMap<Key, PodReading>>,
}

#[derive(Clone, Debug)]
struct PodReading {
    pod: String,
    at: Instant,
    reading: ExporterReading,
}

/// The outcome of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeOutcome {
    /// The health of the exporter is known.
    Known(ExporterHealth),
    /// Two readings are needed. Check again after this time.
    RetryAfter(Duration),
}

impl CollectorProbe {
    /// Checks the exporter of a stack's first deciding pod that has an address and is not
    /// terminating.
    pub async fn check(&self, stack: &Key, pods: &[Pod]) -> ProbeOutcome {
        let Some((pod, address)) = not_terminating(pods).find_map(|pod| {
            let address = pod.status.as_ref()?.pod_ip.as_deref()?;
            Some((pod.metadata.name.clone()?, address))
        }) else {
            return ProbeOutcome::Known(ExporterHealth::Unknown);
        };
        let earlier = self.last_readings.lock().get(stack).cloned();
        // Counters of another pod cannot be compared.
        let earlier = earlier.filter(|it| it.pod == pod && it.at.elapsed() < MAX_READING_AGE);
        if let Some(earlier) = &earlier
            && let Some(left) = MIN_READING_INTERVAL.checked_sub(earlier.at.elapsed())
        {
            return ProbeOutcome::RetryAfter(left);
        }
        let reading = match self.metrics(address).await {
            Ok(metrics) => ExporterReading::from_metrics(&metrics),
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    %stack,
                    pod,
                    "cannot read the Collector's metrics; continuing its rollout without them"
                );
                return ProbeOutcome::Known(ExporterHealth::Unknown);
            }
        };
        let known = earlier.map(|earlier| reading.health_since(&earlier.reading));
        let at = Instant::now();
        self.last_readings
            .lock()
            .insert(stack.clone(), PodReading { pod, at, reading });
        let again = ProbeOutcome::RetryAfter(MIN_READING_INTERVAL);
        known.map_or(again, ProbeOutcome::Known)
    }

    /// Forgets stacks that no longer exist.
    pub fn keep_only(&self, exists: impl Fn(&Key) -> bool) {
        self.last_readings.lock().retain(|stack, _| exists(stack));
    }

    /// Reads the metrics of a Collector's pod, in Prometheus' text format.
    ///
    /// # Errors
    /// The pod does not respond in time, or responds with something else.
    pub async fn metrics(&self, address: &str) -> Result<String, ReadError> {
        self.client.read(address, ports::OWN_METRICS).await
    }
}
