//! The layer of a gRPC server.

use std::{
    borrow::Cow,
    net::SocketAddr,
    sync::Arc,
    task::{self, Poll},
};

use http::{HeaderMap, Request, Response};
use opentelemetry::trace::{Span, SpanKind};
use opentelemetry_sdk::trace::SdkTracer;
use tonic::{Code, Status, body::Body, transport::server::TcpConnectInfo};
use tower::Service;

use super::{attributes, body, is_infrastructure, status};
use crate::{
    attributes::push_peer,
    edge,
    exchange::{Exchange, start_span},
    faults::{self, Faults},
    metrics::{Operations, Outcome},
    outgoing,
    traced::{CallFuture, Traced, TracedLayer, respond},
};

/// Traces the calls to a tonic server.
pub type GrpcServerLayer = TracedLayer<RpcServerState>;

/// A service behind [`GrpcServerLayer`].
pub type GrpcServer<S> = Traced<S, RpcServerState>;

/// The state shared by the calls of a server.
#[derive(Clone)]
pub struct RpcServerState {
    /// `None` if tracing is off.
    pub(crate) tracer: Option<SdkTracer>,
    pub(crate) faults: Arc<Faults>,
    pub(crate) operations: Arc<Operations>,
}

impl<S, B> Service<Request<B>> for GrpcServer<S>
where
    S: Service<Request<B>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    B: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = CallFuture<S, Request<B>>;

    fn poll_ready(&mut self, task: &mut task::Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(task)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if is_infrastructure(request.uri().path()) {
            return Box::pin(self.inner.call(request));
        }
        let mut call = self.shared.begin(&request);
        let fault = self.shared.faults.decide(&call.operation.name);
        let failure = || Status::internal(faults::FAILURE).into_http();
        let context = call.context.clone();
        let operations = Arc::clone(&self.shared.operations);
        let end = move |result: Result<Response<Body>, S::Error>| match result {
            Ok(response) => {
                recognize(&mut call, &operations, response.headers());
                Ok(body::observe(call, response))
            }
            Err(error) => {
                let description = "the service failed".to_owned();
                call.finish(Outcome::Rpc(Code::Internal), description);
                Err(error)
            }
        };
        respond(&mut self.inner, request, context, fault, failure, end)
    }
}

impl RpcServerState {
    fn begin<B>(&self, request: &Request<B>) -> Exchange {
        let method = attributes::method(request.uri().path());
        let operation = self.operations.get("", method);
        let parent = edge::extract(request.headers());
        let context = match &self.tracer {
            // In an unsampled trace, the span would be dropped, so its parent is used.
            Some(tracer) if !outgoing::is_unsampled(&parent) => {
                start_span(tracer, SpanKind::Server, &operation, &parent, |span| {
                    let mut all = attributes::of_call(request.uri().authority());
                    if let Some(peer) = peer(request) {
                        push_peer(&mut all, peer);
                    }
                    span.set_attributes(all);
                })
            }
            _ => parent,
        };
        Exchange::new(operation, context)
    }
}

/// Registers a call's method when the service has responded, unless the service does not have it.
fn recognize(call: &mut Exchange, operations: &Operations, head: &HeaderMap) {
    let Cow::Owned(method) = &call.operation.name else {
        return;
    };
    // The head has this status, since the response has no messages.
    if !matches!(status::of(head), Some((Code::Unimplemented, _))) {
        call.operation = operations.add("", method);
    }
}

fn peer<B>(request: &Request<B>) -> Option<SocketAddr> {
    request.extensions().get::<TcpConnectInfo>()?.remote_addr()
}
