//! The layer of a gRPC server.

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{self, Poll},
};

use http::{Request, Response};
use opentelemetry::{
    Context,
    trace::{FutureExt, Span, SpanKind, TraceContextExt, Tracer},
};
use opentelemetry_sdk::trace::SdkTracer;
use tonic::{Status, body::Body, transport::server::TcpConnectInfo};
use tower::{Layer, Service};

use super::{attributes, body, call::Call, is_infrastructure};
use crate::{
    edge,
    faults::{self, Decision, Faults},
    metrics::{Operation, Operations},
    outgoing,
};

/// Traces the calls that a tonic server answers.
#[derive(Clone)]
pub struct GrpcServerLayer(pub(crate) Arc<Callee>);

/// The state shared by the layer's calls.
pub(crate) struct Callee {
    /// None: tracing is off.
    pub(crate) tracer: Option<SdkTracer>,
    pub(crate) faults: Arc<Faults>,
    pub(crate) operations: Arc<Operations>,
}

/// A service behind [`GrpcServerLayer`].
#[derive(Clone)]
pub struct GrpcServer<S> {
    inner: S,
    callee: Arc<Callee>,
}

impl<S> Layer<S> for GrpcServerLayer {
    type Service = GrpcServer<S>;

    fn layer(&self, inner: S) -> GrpcServer<S> {
        GrpcServer {
            inner,
            callee: Arc::clone(&self.0),
        }
    }
}

impl<S, B> Service<Request<B>> for GrpcServer<S>
where
    S: Service<Request<B>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    B: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, task: &mut task::Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(task)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if is_infrastructure(request.uri().path()) {
            return Box::pin(self.inner.call(request));
        }
        let call = self.callee.begin(&request);
        let fault = self.callee.faults.decide(call.operation.name);
        // The usual case needs neither a clone of the service nor a second future.
        if fault == Decision::default() {
            let inside = call.context.clone().attach();
            let answer = self.inner.call(request);
            drop(inside);
            let answer = answer.with_context(call.context.clone());
            return Box::pin(async move { end(call, answer.await) });
        }
        // The clone is not ready; what was polled ready is.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let context = call.context.clone();
        let answer = async move {
            let result = if fault.inject(&call.context).await {
                Ok(Status::internal(faults::FAILURE).into_http())
            } else {
                inner.call(request).await
            };
            end(call, result)
        };
        Box::pin(answer.with_context(context))
    }
}

fn end<E>(call: Call, result: Result<Response<Body>, E>) -> Result<Response<Body>, E> {
    match result {
        Ok(response) => Ok(body::observed(call, response)),
        Err(error) => {
            call.finish(tonic::Code::Internal, "the service failed");
            Err(error)
        }
    }
}

impl Callee {
    fn begin<B>(&self, request: &Request<B>) -> Call {
        let path = request.uri().path();
        let operation = self.operations.get("", attributes::method(path));
        let parent = edge::extract(request.headers());
        let context = match &self.tracer {
            // In an unsampled trace a span would only be dropped, so its parent stands for it.
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
        .span_builder(operation.name)
        .with_kind(SpanKind::Server);
    let mut span = tracer.build_with_context(builder, parent);
    if span.is_recording() {
        let uri = request.uri();
        let mut all = attributes::of_call(operation, uri.path(), uri.authority());
        if let Some(peer) = peer(request) {
            attributes::push_peer(&mut all, peer);
        }
        span.set_attributes(all);
    }
    parent.with_span(span)
}

fn peer<B>(request: &Request<B>) -> Option<SocketAddr> {
    request.extensions().get::<TcpConnectInfo>()?.remote_addr()
}
