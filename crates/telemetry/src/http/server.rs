//! The layer of an HTTP server: trusted callers, the server span, faults, metrics, and the trace ID
//! in the response.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::Arc,
    task::{self, Poll},
};

use axum::{
    body::Body,
    extract::{ConnectInfo, MatchedPath},
    response::IntoResponse,
};
use http::{Request, Response, StatusCode};
use opentelemetry::trace::{Span, SpanKind};
use opentelemetry_sdk::trace::SdkTracer;
use spoor_runtime::Problem;
use tower::Service;

use super::{
    attributes,
    untraced::{UntracedPaths, untraced_context},
};
use crate::{
    edge::{self, Admitted, TrustedPeers},
    exchange::{Exchange, start_span},
    faults::{self, Faults},
    metrics::{Operations, Outcome},
    traced::{CallFuture, Traced, TracedLayer, respond},
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
    type Future = CallFuture<S, Request<Body>>;

    fn poll_ready(&mut self, task: &mut task::Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(task)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let exchange = self.shared.begin(&request);
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
    exchange.finish(Outcome::Http(response.status().as_u16()), String::new());
    response
}

impl HttpServerState {
    fn begin(&self, request: &Request<Body>) -> Exchange {
        let extensions = request.extensions();
        let peer = extensions.get::<ConnectInfo<SocketAddr>>();
        let peer = peer.map(|it| it.0);
        // The route and not the path: names of spans and series must be few.
        let route = extensions.get::<MatchedPath>();
        let route = route.map_or("", MatchedPath::as_str);
        let method = attributes::method(request.method());
        let operation = self.operations.get(method, route);
        let Admitted { parent, link } = match &self.callers {
            Callers::Outside(trusted) => {
                edge::admit(trusted, peer.map(|it| it.ip()), request.headers())
            }
            Callers::Mesh => Admitted::in_mesh(request.headers()),
        };
        let context = match &self.tracer {
            // The caller's context is passed on even if tracing is off.
            None => parent,
            Some(_) if self.untraced.contains(request.uri().path()) => untraced_context(&parent),
            Some(tracer) => start_span(tracer, SpanKind::Server, &operation, &parent, |span| {
                if let Some(link) = link {
                    span.add_link(link, Vec::new());
                }
                span.set_attributes(attributes::of_server(request, operation.target, peer));
            }),
        };
        Exchange::new(operation, context)
    }
}
