//! The connection under a channel.

use std::{
    error::Error,
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
use tower::{Service, ServiceExt};

/// One HTTP/2 connection, made at the first call, and again when it is lost or its peer turns out
/// not to be a gRPC server.
///
/// An address may lead elsewhere for a moment, as that of a Kubernetes Service does while its rules
/// are written. A connection made then is healthy, and would otherwise be kept.
#[derive(Clone, Debug)]
pub struct Transport(Arc<Connections>);

#[derive(Debug)]
struct Connections {
    endpoint: Endpoint,
    latest: Mutex<Connection>,
}

#[derive(Clone, Debug)]
struct Connection {
    number: u64,
    channel: Channel,
}

/// Something else than a gRPC server answered. Its source is the status that the caller gets.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.message())]
struct NoGrpcServer(#[source] Status);

type BoxError = Box<dyn Error + Send + Sync>;

impl Transport {
    pub(crate) fn lazy(endpoint: Endpoint) -> Self {
        let latest = Mutex::new(Connection::lazy(0, &endpoint));
        Self(Arc::new(Connections { endpoint, latest }))
    }
}

impl Service<Request<Body>> for Transport {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>>;

    /// The call waits for its connection: which one that is may change until then.
    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let connections = Arc::clone(&self.0);
        Box::pin(async move {
            // Cloned, so that the lock is not held during the call.
            let Connection { number, channel } = connections.latest.lock().clone();
            let response = channel.oneshot(request).await?;
            if is_of_grpc(response.status()) {
                return Ok(response);
            }
            connections.leave(number);
            Err(NoGrpcServer::answering(response.status()).into())
        })
    }
}

impl Connections {
    /// Another call may have left it already.
    fn leave(&self, number: u64) {
        let mut latest = self.latest.lock();
        if latest.number == number {
            *latest = Connection::lazy(number + 1, &self.endpoint);
        }
    }
}

impl Connection {
    fn lazy(number: u64, endpoint: &Endpoint) -> Self {
        Self {
            number,
            channel: endpoint.connect_lazy(),
        }
    }
}

impl NoGrpcServer {
    fn answering(status: StatusCode) -> Self {
        let message = format!("no gRPC server answered, but one of HTTP: {status}");
        Self(Status::unavailable(message))
    }
}

/// gRPC's own failures have the HTTP status 200. A proxy on the way to the right place may ask who
/// is calling.
fn is_of_grpc(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::OK | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN
    )
}
