//! The layer of a gRPC server.

use std::{
    net::SocketAddr,
    sync::Arc,
    task::{self, Poll},
};

use http::{Request, Response};
use opentelemetry::{
    Context,
    trace::{Span, SpanKind, TraceContextExt, Tracer},
};
use opentelemetry_sdk::trace::SdkTracer;
use tonic::{Code, Status, body::Body, transport::server::TcpConnectInfo};
use tower::Service;

use super::{attributes, body, call::Call, is_infrastructure};
use crate::{
    attributes::push_peer,
    edge,
    faults::{self, Faults},
    metrics::{Operation, Operations},
    outgoing,
    traced::{Calling, Traced, TracedLayer, respond},
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
    type Future = Calling<S, Request<B>>;

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
                call.recognize(&operations, response.headers());
                Ok(body::observe(call, response))
            }
            Err(error) => {
                call.finish(Code::Internal, "the service failed");
                Err(error)
            }
        };
        respond(&mut self.inner, request, context, fault, failure, end)
    }
}

impl RpcServerState {
    fn begin<B>(&self, request: &Request<B>) -> Call {
        let method = attributes::method(request.uri().path());
        let operation = self.operations.get("", method);
        let parent = edge::extract(request.headers());
        let context = match &self.tracer {
            // In an unsampled trace the span would be dropped, so its parent is used.
            Some(tracer) if !outgoing::is_unsampled(&parent) => {
                start_span(tracer, &operation, &parent, request)
            }
            _ => parent,
        };
        Call::new(operation, context, SpanKind::Server)
    }
}

/// The sampler decides on the name alone: attributes are made for recorded spans only.
fn start_span<B>(
    tracer: &SdkTracer,
    operation: &Operation,
    parent: &Context,
    request: &Request<B>,
) -> Context {
    let builder = tracer
        .span_builder(operation.name.clone())
        .with_kind(SpanKind::Server);
    let mut span = tracer.build_with_context(builder, parent);
    if span.is_recording() {
        let mut all = attributes::of_call(request.uri().authority());
        if let Some(peer) = peer(request) {
            push_peer(&mut all, peer);
        }
        span.set_attributes(all);
    }
    parent.with_span(span)
}

fn peer<B>(request: &Request<B>) -> Option<SocketAddr> {
    request.extensions().get::<TcpConnectInfo>()?.remote_addr()
}
