//! Reads Collectors' metrics. The health of the deciding Collector's exporter is read before its
//! pod is replaced, since the pod would lose what it cannot send.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use axum::body::Bytes;
use http::{StatusCode, Uri};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper_util::{
    client::legacy::{self, Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use tokio::time::timeout;

use super::{
    collector::{
        exporter::{ExporterHealth, ExporterReading},
        ports,
    },
    pod_failure::not_terminating,
};
use crate::kubernetes::watch::Key;

/// The shortest interval between two readings that are compared.
const MIN_READING_INTERVAL: Duration = Duration::from_secs(2);
/// The age at which an earlier reading is too old to be compared.
const MAX_READING_AGE: Duration = Duration::from_secs(30);
const READ_DEADLINE: Duration = Duration::from_secs(2);
/// The largest response. A Collector's metrics are shorter.
const MAX_METRICS_BYTES: usize = 4 * 1024 * 1024;

/// The reason why the metrics of a pod could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The pod has no usable address.
    #[error("cannot build a URL from the pod's address")]
    Address(#[source] http::uri::InvalidUri),
    /// The pod cannot be reached.
    #[error("cannot request the metrics")]
    Request(#[source] legacy::Error),
    /// The pod has no metrics.
    #[error("the pod responded with status {0} instead of metrics")]
    Status(StatusCode),
    /// The response ended too early.
    #[error("the metrics ended too early")]
    Receive(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The response took too long.
    #[error("the pod did not send its metrics within {READ_DEADLINE:?}")]
    DeadlineExceeded,
    /// The response is too long to be a Collector's.
    #[error("the metrics are longer than {MAX_METRICS_BYTES} bytes")]
    TooLong,
}

/// Reads metrics, and keeps the last reading of each stack's deciding pod.
#[derive(Debug)]
pub struct CollectorProbe {
    client: Client<HttpConnector, Empty<Bytes>>,
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

impl Default for CollectorProbe {
    fn default() -> Self {
        Self {
            // hyper's client, which kube depends on, follows no redirects and uses no proxy: a
            // pod's response cannot make the operator send requests elsewhere. Idle connections are
            // not kept, since a pod is read a few times a minute and may be gone by then.
            client: Client::builder(TokioExecutor::new())
                .pool_max_idle_per_host(0)
                .build_http(),
            last_readings: Mutex::default(),
        }
    }
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
        // An IPv6 address needs brackets in a URL.
        let host = match address.contains(':') {
            true => format!("[{address}]"),
            false => address.to_owned(),
        };
        let url = format!("http://{host}:{}/metrics", ports::OWN_METRICS);
        let url = url.parse().map_err(ReadError::Address)?;
        let response = timeout(READ_DEADLINE, self.get(url)).await;
        response.unwrap_or(Err(ReadError::DeadlineExceeded))
    }

    async fn get(&self, url: Uri) -> Result<String, ReadError> {
        let response = self.client.get(url).await.map_err(ReadError::Request)?;
        if response.status() != StatusCode::OK {
            return Err(ReadError::Status(response.status()));
        }
        // Otherwise anyone who can label a pod could exhaust the operator's memory.
        let body = Limited::new(response.into_body(), MAX_METRICS_BYTES)
            .collect()
            .await;
        let body = body.map_err(|error| match error.is::<LengthLimitError>() {
            true => ReadError::TooLong,
            false => ReadError::Receive(error),
        })?;
        Ok(String::from_utf8_lossy(&body.to_bytes()).into_owned())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::net::SocketAddr;

    use axum::{Router, http::header::LOCATION, response::IntoResponse, routing::get};

    use super::*;

    async fn serve() -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let redirect = || async { (StatusCode::FOUND, [(LOCATION, "/short")]).into_response() };
        let router = Router::new()
            .route("/short", get(|| async { "up 1\n" }))
            .route("/long", get(|| async { "#".repeat(MAX_METRICS_BYTES + 1) }))
            .route("/redirect", get(redirect));
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    }

    async fn read(address: SocketAddr, path: &str) -> Result<String, ReadError> {
        let url = format!("http://{address}{path}").parse().unwrap();
        CollectorProbe::default().get(url).await
    }

    #[tokio::test]
    async fn reads_metrics_and_nothing_else() {
        let address = serve().await;
        assert_eq!(read(address, "/short").await.unwrap(), "up 1\n");
        let error = read(address, "/long").await.unwrap_err();
        assert!(matches!(error, ReadError::TooLong), "{error:?}");
        let error = read(address, "/redirect").await.unwrap_err();
        assert!(
            matches!(error, ReadError::Status(StatusCode::FOUND)),
            "{error:?}"
        );
    }

    #[tokio::test]
    async fn unreachable_pod_is_an_error() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let error = read(address, "/short").await.unwrap_err();
        assert!(matches!(error, ReadError::Request(_)), "{error:?}");
    }
}
