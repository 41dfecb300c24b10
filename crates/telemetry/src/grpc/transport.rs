//! The connection under a channel.

use std::{
    pin::Pin,
    sync::Arc,
    task::{self, Poll},
};

use http::{Request, Response, StatusCode};
use parking_lot::Mutex;
use tonic::{
    Status,
    body::Body,
    transport::{Channel, Endpoint},
};
use tower::{BoxError, Service, ServiceExt};

/// One HTTP/2 connection, made at the first call, and again when it is lost or its peer turns out
/// not to be a gRPC server.
///
/// An address may briefly lead to another server: that of a Kubernetes Service does while its rules
/// are being written. A connection made then is healthy, and would otherwise be kept.
#[derive(Clone, Debug)]
pub struct Transport(Arc<Connections>);

#[derive(Debug)]
struct Connections {
    endpoint: Endpoint,
    /// Shared with the calls that use it. A call replaces it only if it is still the same `Arc`.
    latest: Mutex<Arc<Channel>>,
}

/// The peer is not a gRPC server. The source is the status that the caller gets.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.message())]
struct NotGrpc(#[source] Status);

impl Transport {
    pub(crate) fn lazy(endpoint: Endpoint) -> Self {
        let latest = Mutex::new(Arc::new(endpoint.connect_lazy()));
        Self(Arc::new(Connections { endpoint, latest }))
    }
}

impl Service<Request<Body>> for Transport {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>>;

    /// Always ready: the call itself waits for the connection, which may be replaced before then.
    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let connections = Arc::clone(&self.0);
        Box::pin(async move {
            // Cloned, so that the lock is not held during the call.
            let used = Arc::clone(&connections.latest.lock());
            let response = Channel::clone(&used).oneshot(request).await?;
            let status = response.status();
            if is_grpc_status(status) {
                return Ok(response);
            }
            connections.replace(&used);
            let message = format!("the peer is not a gRPC server: HTTP status {status}");
            Err(NotGrpc(Status::unavailable(message)).into())
        })
    }
}

impl Connections {
    /// Replaces a connection, unless another call has already done so.
    fn replace(&self, used: &Arc<Channel>) {
        let mut latest = self.latest.lock();
        if Arc::ptr_eq(&latest, used) {
            *latest = Arc::new(self.endpoint.connect_lazy());
        }
    }
}

/// gRPC's own failures have the HTTP status 200. A proxy in front of a gRPC server may require
/// authentication.
fn is_grpc_status(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::OK | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN
    )
}
