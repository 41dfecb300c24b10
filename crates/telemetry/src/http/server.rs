//! The layer of an HTTP server: trusted callers, the server span, faults, metrics, and the trace ID
//! in the response.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::Arc,
    task::{self, Poll},
    time::Instant,
};

use axum::{
    body::Body,
    extract::{ConnectInfo, MatchedPath},
    response::IntoResponse,
};
use http::{Request, Response, StatusCode};
use opentelemetry::{
    Context,
    trace::{Span, SpanKind, TraceContextExt, Tracer},
};
use opentelemetry_sdk::trace::SdkTracer;
use spoor_runtime::Problem;
use tower::Service;

use super::{
    attributes,
    exchange::Exchange,
    untraced::{self, UntracedPaths},
};
use crate::{
    edge::{self, Admitted, TrustedPeers},
    faults::{self, Faults},
    metrics::{Operation, Operations},
    traced::{Calling, Traced, TracedLayer, respond},
};

/// Traces the requests of an HTTP server: [`crate::Telemetry::http_server`] and
/// [`crate::Telemetry::http_server_in_mesh`] apply it.
pub type HttpServerLayer = TracedLayer<HttpServerState>;

/// A service behind [`HttpServerLayer`].
pub type HttpServer<S> = Traced<S, HttpServerState>;

/// The state shared by the requests of a server.
#[derive(Clone)]
pub struct HttpServerState {
    /// `None` if tracing is off.
    pub(crate) tracer: Option<SdkTracer>,
    pub(crate) callers: Callers,
    pub(crate) untraced: UntracedPaths,
    pub(crate) faults: Arc<Faults>,
    pub(crate) operations: Arc<Operations>,
}

/// The callers of an HTTP server.
#[derive(Clone)]
pub(crate) enum Callers {
    /// Any client: only callers from these networks are trusted.
    Outside(TrustedPeers),
    /// Services of the mesh, all of which are trusted.
    Mesh,
}

impl<S> Service<Request<Body>> for HttpServer<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Calling<S, Request<Body>>;

    fn poll_ready(&mut self, task: &mut task::Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(task)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (exchange, request) = self.shared.begin(request);
        let fault = self.shared.faults.decide(&exchange.operation.name);
        let failure =
            || Problem::new(StatusCode::INTERNAL_SERVER_ERROR, faults::FAILURE).into_response();
        let context = exchange.context.clone();
        let end = |result: Result<_, Infallible>| result.map(|response| end(exchange, response));
        respond(&mut self.inner, request, context, fault, failure, end)
    }
}

/// Ends an exchange with its response, which gets the headers that name its trace.
fn end(exchange: Exchange, mut response: Response<Body>) -> Response<Body> {
    if let Some(headers) = edge::response_headers(&exchange.context) {
        // Inserted and not appended: a proxied response may already name the trace of its server.
        for (name, value) in headers {
            response.headers_mut().insert(name, value);
        }
    }
    exchange.finish(response.status());
    response
}

impl HttpServerState {
    fn begin(&self, request: Request<Body>) -> (Exchange, Request<Body>) {
        let started = Instant::now();
        let peer = request
            .extensions()
            .get::<ConnectInfo<SocketAddr>>()
            .map(|it| it.0);
        let route = request
            .extensions()
            // The route and not the path: names of spans and series must be few.
            .get::<MatchedPath>()
            .map_or("", MatchedPath::as_str);
        let operation = self
            .operations
            .get(attributes::method(request.method()), route);
        let admitted = match &self.callers {
            Callers::Outside(trusted) => {
                edge::admit(trusted, peer.map(|it| it.ip()), request.headers())
            }
            Callers::Mesh => Admitted::in_mesh(request.headers()),
        };
        let (context, request) = match &self.tracer {
            // Even without tracing the caller's context is passed on.
            None => (admitted.parent, request),
            Some(_) if self.untraced.contains(request.uri().path()) => {
                (untraced::context(&admitted.parent), request)
            }
            Some(tracer) => start_span(tracer, &operation, admitted, peer, request),
        };
        let exchange = Exchange::new(SpanKind::Server, operation, started, context);
        (exchange, request)
    }
}

/// The sampler decides on the name alone: attributes are made for recorded spans only.
fn start_span(
    tracer: &SdkTracer,
    operation: &Operation,
    admitted: Admitted,
    peer: Option<SocketAddr>,
    request: Request<Body>,
) -> (Context, Request<Body>) {
    let Admitted { parent, link } = admitted;
    let builder = tracer
        .span_builder(operation.name.clone())
        .with_kind(SpanKind::Server);
    let mut span = tracer.build_with_context(builder, &parent);
    if !span.is_recording() {
        return (parent.with_span(span), request);
    }
    if let Some(link) = link {
        span.add_link(link, Vec::new());
    }
    let (parts, body) = request.into_parts();
    span.set_attributes(attributes::of_server(&parts, operation.target, peer));
    (parent.with_span(span), Request::from_parts(parts, body))
}
