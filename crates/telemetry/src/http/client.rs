//! The layer of an HTTP client: the client span, metrics, and the context in the request.

use std::{
    error::Error,
    pin::Pin,
    sync::Arc,
    task::{self, Poll},
    time::Instant,
};

use http::{Request, Response};
use opentelemetry::trace::{FutureExt, SpanKind};
use opentelemetry_sdk::trace::SdkTracer;
use spoor_runtime::with_causes;
use tower::{Layer, Service};

use super::{attributes, exchange::Exchange};
use crate::{
    metrics::{OTHER, Operations},
    outgoing,
};

/// Traces the requests of an HTTP client, such as `hyper_util`'s.
#[derive(Clone)]
pub struct HttpClientLayer(pub(crate) Arc<Caller>);

/// The state shared by the layer's requests.
pub(crate) struct Caller {
    pub(crate) tracer: Option<SdkTracer>,
    pub(crate) operations: Arc<Operations>,
}

/// A client behind [`HttpClientLayer`].
#[derive(Clone)]
pub struct HttpClient<S> {
    inner: S,
    caller: Arc<Caller>,
}

impl<S> Layer<S> for HttpClientLayer {
    type Service = HttpClient<S>;

    fn layer(&self, inner: S) -> HttpClient<S> {
        HttpClient {
            inner,
            caller: Arc::clone(&self.0),
        }
    }
}

impl<S, B, R> Service<Request<B>> for HttpClient<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    S::Error: Error,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, S::Error>> + Send>>;

    fn poll_ready(&mut self, task: &mut task::Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(task)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let started = Instant::now();
        let method = attributes::method(request.method());
        // By host and not by path, which may hold an ID and would make a series for each.
        let operation = self
            .caller
            .operations
            .get(method, request.uri().host().unwrap_or(""));
        let context = outgoing::start(self.caller.tracer.as_ref(), operation.name, || {
            attributes::of_client(&request)
        });
        outgoing::inject(&context, request.headers_mut());
        let sent = self.inner.call(request).with_context(context.clone());
        let exchange = Exchange::new(SpanKind::Client, operation, started, context);
        Box::pin(async move {
            let result = sent.await;
            match &result {
                Ok(response) => exchange.answered(response.status()),
                Err(error) => exchange.failed(OTHER, with_causes(error)),
            }
            result
        })
    }
}
