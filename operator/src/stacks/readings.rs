//! The state of the deciding Collector's exporter: read before its pod is replaced, since what it
//! cannot send then is lost.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;

use super::collector::{
    OWN_METRICS,
    exporter::{Exporter, Reading},
};
use crate::kubernetes::watch::Key;

/// Two readings are at least so far apart.
const APART: Duration = Duration::from_secs(2);
/// An older one says nothing any more.
const FRESH: Duration = Duration::from_secs(30);
const DEADLINE: Duration = Duration::from_secs(2);
/// Metrics of a Collector are shorter.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// The reason why the metrics of a pod could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The pod does not answer.
    #[error("can't ask for them")]
    Ask(#[source] reqwest::Error),
    /// The answer ended too early.
    #[error("they broke off")]
    Receive(#[source] reqwest::Error),
    /// The answer is no Collector's.
    #[error("they are longer than {MAX_BYTES} bytes")]
    TooLong,
}

/// The last reading of each stack's deciding pod.
#[derive(Debug)]
pub struct Readings {
    client: reqwest::Client,
    earlier: Mutex<HashMap<Key, Earlier>>,
}

#[derive(Clone, Debug)]
struct Earlier {
    pod: String,
    at: Instant,
    reading: Reading,
}

/// The outcome of a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// The state of the exporter.
    Known(Exporter),
    /// Look again after this time.
    Again(Duration),
}

impl Readings {
    /// None yet.
    ///
    /// # Errors
    /// When there is no HTTP client to be had.
    pub fn new() -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .timeout(DEADLINE)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self {
            client,
            earlier: Mutex::default(),
        })
    }

    /// Looks at a stack's deciding pods, those of them that stay.
    pub async fn look(&self, stack: &Key, pods: &[Pod]) -> Look {
        let mut staying = pods
            .iter()
            .filter(|pod| pod.metadata.deletion_timestamp.is_none());
        let Some((pod, address)) = staying.find_map(|pod| {
            let address = pod.status.as_ref()?.pod_ip.as_deref()?;
            Some((pod.metadata.name.clone()?, address))
        }) else {
            return Look::Known(Exporter::Unknown);
        };
        let earlier = self.earlier.lock().get(stack).cloned();
        let earlier = earlier.filter(|it| it.pod == pod && it.at.elapsed() < FRESH);
        if let Some(earlier) = &earlier
            && let Some(left) = APART.checked_sub(earlier.at.elapsed())
        {
            return Look::Again(left);
        }
        let reading = match self.metrics(address).await {
            Ok(metrics) => Reading::of(&metrics),
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    %stack,
                    pod,
                    "can't read the Collector's metrics: its rollout goes on without them"
                );
                return Look::Known(Exporter::Unknown);
            }
        };
        let known = earlier.map(|earlier| reading.since(&earlier.reading));
        let at = Instant::now();
        self.earlier
            .lock()
            .insert(stack.clone(), Earlier { pod, at, reading });
        known.map_or(Look::Again(APART), Look::Known)
    }

    /// Forgets stacks that are gone.
    pub fn keep_only(&self, is_there: impl Fn(&Key) -> bool) {
        self.earlier.lock().retain(|stack, _| is_there(stack));
    }

    /// The metrics of a Collector's pod, in Prometheus' text format.
    ///
    /// # Errors
    /// When the pod does not answer, or with too much.
    pub async fn metrics(&self, address: &str) -> Result<String, ReadError> {
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
            if text.len() + chunk.len() > MAX_BYTES {
                return Err(ReadError::TooLong);
            }
            text.extend_from_slice(&chunk);
        }
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}
