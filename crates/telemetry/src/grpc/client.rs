//! The layer of a gRPC channel.

use std::{
    fmt::Display,
    pin::Pin,
    sync::Arc,
    task::{self, Poll},
};

use http::{Request, Response, Uri, uri::Authority};
use opentelemetry::{
    KeyValue,
    trace::{FutureExt, SpanKind},
};
use opentelemetry_sdk::trace::SdkTracer;
use tonic::{Code, body::Body};
use tower::{Layer, Service};

use super::{attributes, body, call::Call, is_infrastructure};
use crate::{metrics::Operations, outgoing};

/// Traces the calls made through a tonic channel.
#[derive(Clone)]
pub struct GrpcClientLayer {
    pub(crate) caller: Arc<Caller>,
    pub(crate) server: Option<Authority>,
}

/// The state shared by the layer's calls.
pub(crate) struct Caller {
    /// None: tracing is off.
    pub(crate) tracer: Option<SdkTracer>,
    pub(crate) operations: Arc<Operations>,
}

/// Attributes of a call that only its caller knows, such as the attempt: an extension of its
/// request, and attributes of its span.
#[derive(Clone, Debug)]
pub struct Attributes(pub Vec<KeyValue>);

/// A channel behind [`GrpcClientLayer`].
#[derive(Clone)]
pub struct GrpcClient<S> {
    inner: S,
    caller: Arc<Caller>,
    server: Option<Authority>,
}

impl GrpcClientLayer {
    /// Sets the channel's destination, for `server.address` and `server.port`: only the channel
    /// itself knows.
    #[must_use]
    pub fn to(self, endpoint: &Uri) -> Self {
        Self {
            server: endpoint.authority().cloned(),
            ..self
        }
    }
}

impl<S> Layer<S> for GrpcClientLayer {
    type Service = GrpcClient<S>;

    fn layer(&self, inner: S) -> GrpcClient<S> {
        GrpcClient {
            inner,
            caller: Arc::clone(&self.caller),
            server: self.server.clone(),
        }
    }
}

impl<S, B> Service<Request<B>> for GrpcClient<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Display,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, task: &mut task::Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(task)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        if is_infrastructure(request.uri().path()) {
            return Box::pin(self.inner.call(request));
        }
        let call = self.caller.begin(&request, self.server.as_ref());
        // In unsampled traces, too: the peer must follow the decision instead of making its own.
        outgoing::inject(&call.context, request.headers_mut());
        let sent = self.inner.call(request).with_context(call.context.clone());
        Box::pin(async move {
            match sent.await {
                Ok(response) => Ok(body::observed(call, response)),
                Err(error) => {
                    call.finish(Code::Unavailable, &error.to_string());
                    Err(error)
                }
            }
        })
    }
}

impl Caller {
    fn begin<B>(&self, request: &Request<B>, server: Option<&Authority>) -> Call {
        let path = request.uri().path();
        let operation = self.operations.get("", attributes::method(path));
        let server = server.or(request.uri().authority());
        let context = outgoing::start(self.tracer.as_ref(), operation.name, || {
            let mut attributes = attributes::of_call(&operation, path, server);
            let callers = request.extensions().get::<Attributes>();
            attributes.extend(callers.into_iter().flat_map(|callers| callers.0.clone()));
            attributes
        });
        Call::new(operation, context, SpanKind::Client)
    }
}
