//! A client of a peer in the mesh.

use std::{error::Error, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response, uri::InvalidUri};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use tokio::time::Instant;
use tower::{Layer, ServiceExt, service_fn, util::BoxCloneSyncService};

use super::{HttpClient, HttpClientLayer};
use crate::PeerUrl;

/// The timeout for connecting. On the same network, connecting takes far less time, or fails.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// The time for which an idle connection is kept. It is shorter than the time for which
/// [`crate::serve`] waits for a connection's next request.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);
/// The most idle connections that are kept.
const MAX_IDLE_CONNECTIONS: usize = 64;

/// A peer over HTTP: each request to it is traced, and has a deadline. Clones share their
/// connections.
#[derive(Clone)]
pub struct Peer {
    url: PeerUrl,
    deadline: Duration,
    client: HttpClient<BoxCloneSyncService<Request<Body>, Response<Incoming>, PeerCallError>>,
}

/// A failure to get a peer's response.
#[derive(Debug, thiserror::Error)]
pub enum PeerCallError {
    /// The path is not valid in a URL.
    #[error("invalid path")]
    InvalidPath(#[source] InvalidUri),
    /// The connection was not established, or was lost before the response began.
    #[error("connection failed")]
    Connection(#[source] legacy::Error),
    /// The deadline passed before the end of the response.
    #[error("no response within {0:?}")]
    Timeout(Duration),
    /// The connection was lost during the response.
    #[error("connection lost during the response")]
    Interrupted(#[source] Box<dyn Error + Send + Sync>),
    /// The response is longer than the caller permits.
    #[error("response longer than {0} bytes")]
    ResponseTooLong(usize),
}

impl Peer {
    pub(crate) fn new(url: PeerUrl, deadline: Duration, layer: &HttpClientLayer) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        connector.set_nodelay(true);
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(MAX_IDLE_CONNECTIONS)
            .build(connector);
        // This is inside the layer, so that its span records a missed deadline.
        let exchange = service_fn(move |request| {
            let response = client.request(request);
            async move {
                let response = tokio::time::timeout(deadline, response).await;
                response
                    .map_err(|_| PeerCallError::Timeout(deadline))?
                    .map_err(PeerCallError::Connection)
            }
        });
        Self {
            url,
            deadline,
            client: layer.layer(BoxCloneSyncService::new(exchange)),
        }
    }

    /// Fetches a response of at most `max_bytes` within the deadline. The path begins with a slash
    /// and may have a query.
    ///
    /// # Errors
    /// [`PeerCallError`]. A response of any status is not an error.
    pub async fn get(
        &self,
        path: &str,
        max_bytes: usize,
    ) -> Result<Response<Bytes>, PeerCallError> {
        // One deadline for head and body together.
        let end = Instant::now() + self.deadline;
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = self.url.join(path).map_err(PeerCallError::InvalidPath)?;
        let (head, body) = self.client.clone().oneshot(request).await?.into_parts();
        let body = tokio::time::timeout_at(end, collect(body, max_bytes)).await;
        let body = body.map_err(|_| PeerCallError::Timeout(self.deadline))??;
        Ok(Response::from_parts(head, body))
    }

    /// Sends a request to its path and query. The deadline is for the head of the response; the
    /// body may take longer.
    ///
    /// # Errors
    /// [`PeerCallError`]. A response of any status is not an error.
    pub async fn send(
        &self,
        mut request: Request<Body>,
    ) -> Result<Response<Incoming>, PeerCallError> {
        let path = request.uri().path_and_query().map_or("/", |it| it.as_str());
        *request.uri_mut() = self.url.join(path).map_err(PeerCallError::InvalidPath)?;
        self.client.clone().oneshot(request).await
    }
}

async fn collect(body: Incoming, max_bytes: usize) -> Result<Bytes, PeerCallError> {
    // A response whose header announces too much is refused before any of it is read.
    let announced = usize::try_from(body.size_hint().lower());
    if announced.map_or(true, |announced| announced > max_bytes) {
        return Err(PeerCallError::ResponseTooLong(max_bytes));
    }
    let collected = Limited::new(body, max_bytes).collect().await;
    collected
        .map(http_body_util::Collected::to_bytes)
        .map_err(|error| {
            if error.is::<LengthLimitError>() {
                PeerCallError::ResponseTooLong(max_bytes)
            } else {
                PeerCallError::Interrupted(error)
            }
        })
}
