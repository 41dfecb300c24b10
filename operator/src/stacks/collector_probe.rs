//! Reads Collectors' metrics. The health of the deciding Collector's exporter is read before its
//! pod is replaced, since the pod would lose what it cannot send.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;

use super::collector::{
    OWN_METRICS,
    exporter::{ExporterHealth, ExporterReading},
};
use crate::kubernetes::watch::Key;

/// The shortest interval between two readings that are compared.
const MIN_READING_INTERVAL: Duration = Duration::from_secs(2);
/// The age from which an earlier reading is too old to be compared.
const MAX_READING_AGE: Duration = Duration::from_secs(30);
const READ_DEADLINE: Duration = Duration::from_secs(2);
/// The largest response. A Collector's metrics are shorter.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// The reason why the metrics of a pod could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The pod does not answer.
    #[error("cannot request the metrics")]
    Ask(#[source] reqwest::Error),
    /// The response ended too early.
    #[error("the metrics ended too early")]
    Receive(#[source] reqwest::Error),
    /// The response is too long to be a Collector's.
    #[error("the metrics are longer than {MAX_BYTES} bytes")]
    TooLong,
}

/// The last reading of each stack's deciding pod.
#[derive(Debug)]
pub struct CollectorProbe {
    client: reqwest::Client,
    earlier: Mutex<HashMap<Key, Earlier>>,
}

#[derive(Clone, Debug)]
struct Earlier {
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
    /// Creates a probe without readings.
    ///
    /// # Errors
    /// When there is no HTTP client to be had.
    pub fn new() -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .timeout(READ_DEADLINE)
            .no_proxy()
            // A pod's answer must not make the operator send requests elsewhere.
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self {
            client,
            earlier: Mutex::default(),
        })
    }

    /// Checks the exporter of a stack's deciding pods, except those that are ending.
    pub async fn check(&self, stack: &Key, pods: &[Pod]) -> ProbeOutcome {
        let mut staying = pods
            .iter()
            .filter(|pod| pod.metadata.deletion_timestamp.is_none());
        let Some((pod, address)) = staying.find_map(|pod| {
            let address = pod.status.as_ref()?.pod_ip.as_deref()?;
            Some((pod.metadata.name.clone()?, address))
        }) else {
            return ProbeOutcome::Known(ExporterHealth::Unknown);
        };
        let earlier = self.earlier.lock().get(stack).cloned();
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
        let known = earlier.map(|earlier| reading.since(&earlier.reading));
        let at = Instant::now();
        self.earlier
            .lock()
            .insert(stack.clone(), Earlier { pod, at, reading });
        known.map_or(
            ProbeOutcome::RetryAfter(MIN_READING_INTERVAL),
            ProbeOutcome::Known,
        )
    }

    /// Forgets stacks that no longer exist.
    pub fn keep_only(&self, is_there: impl Fn(&Key) -> bool) {
        self.earlier.lock().retain(|stack, _| is_there(stack));
    }

    /// Reads the metrics of a Collector's pod, in Prometheus' text format.
    ///
    /// # Errors
    /// When the pod does not answer, or with too much.
    pub async fn metrics(&self, address: &str) -> Result<String, ReadError> {
        // An IPv6 address needs brackets in a URL.
        let host = match address.contains(':') {
            true => format!("[{address}]"),
            false => address.to_owned(),
        };
        let url = format!("http://{host}:{OWN_METRICS}/metrics");
        let mut answer = self
            .client
            .get(url)
            .send()
            .await
            .and_then(reqwest::Response::error_for_status)
            .map_err(ReadError::Ask)?;
        let mut text = vec![];
        while let Some(chunk) = answer.chunk().await.map_err(ReadError::Receive)? {
            // Whoever can label a pod could otherwise fill the operator's memory.
            if text.len() + chunk.len() > MAX_BYTES {
                return Err(ReadError::TooLong);
            }
            text.extend_from_slice(&chunk);
        }
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}
