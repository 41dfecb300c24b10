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

/// On the same network a connection takes far less, or never comes.
const CONNECT: Duration = Duration::from_secs(1);
/// Shorter than what [`crate::serve`] lets a connection wait for its next request.
const IDLE: Duration = Duration::from_secs(5);
/// Connections kept for later.
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
    /// There is no such path.
    #[error("the path cannot be asked for")]
    Path(#[source] InvalidUri),
    /// No connection, or none that held until the answer began.
    #[error("it cannot be reached")]
    Unreachable(#[source] legacy::Error),
    /// Nothing within the deadline.
    #[error("it did not answer within {0:?}")]
    Late(Duration),
    /// The connection was lost during the answer.
    #[error("it broke off its answer")]
    BrokenOff(#[source] Box<dyn Error + Send + Sync>),
    /// A longer answer than was asked for.
    #[error("it answered with more than {0} bytes")]
    TooLong(usize),
}

impl Peer {
    pub(crate) fn new(url: PeerUrl, deadline: Duration, layer: &HttpClientLayer) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT));
        connector.set_nodelay(true);
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(MAX_IDLE_CONNECTIONS)
            .build(connector);
        // Inside the layer, so that its span records a missed deadline.
        let exchange = service_fn(move |request| {
            let response = client.request(request);
            async move {
                let response = tokio::time::timeout(deadline, response).await;
                response
                    .map_err(|_| PeerCallError::Late(deadline))?
                    .map_err(PeerCallError::Unreachable)
            }
        });
        Self {
            url,
            deadline,
            client: layer.layer(BoxCloneSyncService::new(exchange)),
        }
    }

    /// Fetches at most `max` bytes from a path, which begins with a slash and may have a query,
    /// within the deadline.
    ///
    /// # Errors
    /// [`PeerCallError`]; an answer of any status is none.
    pub async fn get(
        &self,
        path: &str,
        max_bytes: usize,
    ) -> Result<Response<Bytes>, PeerCallError> {
        // One deadline for head and body together.
        let end = Instant::now() + self.deadline;
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = self.url.join(path).map_err(PeerCallError::Path)?;
        let (head, body) = self.client.clone().oneshot(request).await?.into_parts();
        let body = tokio::time::timeout_at(end, collected(body, max_bytes)).await;
        let body = body.map_err(|_| PeerCallError::Late(self.deadline))??;
        Ok(Response::from_parts(head, body))
    }

    /// Sends a request to the path and query that it is for; the deadline is for the answer's
    /// head, its body may take longer.
    ///
    /// # Errors
    /// [`PeerCallError`]; an answer of any status is none.
    pub async fn send(
        &self,
        mut request: Request<Body>,
    ) -> Result<Response<Incoming>, PeerCallError> {
        let path = request.uri().path_and_query().map_or("/", |it| it.as_str());
        *request.uri_mut() = self.url.join(path).map_err(PeerCallError::Path)?;
        self.client.clone().oneshot(request).await
    }
}

async fn collected(body: Incoming, most: usize) -> Result<Bytes, PeerCallError> {
    // An answer that announces too much is refused before any of it is read.
    let announced = usize::try_from(body.size_hint().lower());
    if announced.map_or(true, |announced| announced > most) {
        return Err(PeerCallError::TooLong(most));
    }
    let whole = Limited::new(body, most).collect().await;
    whole
        .map(http_body_util::Collected::to_bytes)
        .map_err(|error| {
            if error.is::<LengthLimitError>() {
                PeerCallError::TooLong(most)
            } else {
                PeerCallError::BrokenOff(error)
            }
        })
}
