//! Reads the metrics of a stack's pods.

use std::time::Duration;

use axum::body::Bytes;
use http::{StatusCode, Uri};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper_util::{
    client::legacy::{self, Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::time::timeout;

const READ_DEADLINE: Duration = Duration::from_secs(2);
/// The largest response. The metrics of a Collector or a sampler are shorter.
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
    /// The response is too long to be the metrics of a stack's pod.
    #[error("the metrics are longer than {MAX_METRICS_BYTES} bytes")]
    TooLong,
}

/// Reads metrics over HTTP.
#[derive(Debug)]
pub struct MetricsClient(Client<HttpConnector, Empty<Bytes>>);

impl Default for MetricsClient {
    fn default() -> Self {
        // hyper's client, which kube depends on, follows no redirects and uses no proxy: a pod's
        // response cannot make the operator send requests elsewhere. Idle connections are not kept,
        // since a pod is read a few times a minute and may be gone by then.
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .build_http();
        Self(client)
    }
}

impl MetricsClient {
    /// Reads the metrics of a pod with this address, in Prometheus' text format.
    ///
    /// # Errors
    /// The pod does not respond in time, or responds with something else.
    pub async fn read(&self, address: &str, port: u16) -> Result<String, ReadError> {
        // An IPv6 address needs brackets in a URL.
        let host = match address.contains(':') {
            true => format!("[{address}]"),
            false => address.to_owned(),
        };
        let url = format!("http://{host}:{port}/metrics");
        let url = url.parse().map_err(ReadError::Address)?;
        let response = timeout(READ_DEADLINE, self.get(url)).await;
        response.unwrap_or(Err(ReadError::DeadlineExceeded))
    }

    async fn get(&self, url: Uri) -> Result<String, ReadError> {
        let response = self.0.get(url).await.map_err(ReadError::Request)?;
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
        MetricsClient::default().get(url).await
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
