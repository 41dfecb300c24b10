//! The layer of an HTTP client: the client span, metrics, and the context in the request.

use std::{
    error::Error,
    sync::Arc,
    task::{self, Poll},
};

use http::{Request, Response};
use opentelemetry::trace::FutureExt;
use opentelemetry_sdk::trace::SdkTracer;
use spoor_runtime::with_causes;
use tower::Service;

use super::attributes;
use crate::{
    exchange::Exchange,
    metrics::{OTHER, Operations, Outcome},
    outgoing,
    traced::{CallFuture, Traced, TracedLayer},
};

/// Traces the requests of an HTTP client, such as `hyper_util`'s.
pub type HttpClientLayer = TracedLayer<HttpClientState>;

/// A client behind [`HttpClientLayer`].
pub type HttpClient<S> = Traced<S, HttpClientState>;

/// The state shared by the requests of a client.
#[derive(Clone)]
pub struct HttpClientState {
    /// `None` if tracing is off.
    pub(crate) tracer: Option<SdkTracer>,
    pub(crate) operations: Arc<Operations>,
}

impl<S, B, R> Service<Request<B>> for HttpClient<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    S::Error: Error,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = CallFuture<S, Request<B>>;

    fn poll_ready(&mut self, task: &mut task::Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(task)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let method = attributes::method(request.method());
        // By host and not by path, since an ID in a path would create a series for each value.
        let HttpClientState { tracer, operations } = &*self.shared;
        let operation = operations.get(method, request.uri().host().unwrap_or(""));
        let context = outgoing::start(tracer.as_ref(), &operation, || {
            attributes::of_client(&request)
        });
        outgoing::inject(&context, request.headers_mut());
        let sent = self.inner.call(request).with_context(context.clone());
        let exchange = Exchange::new(operation, context);
        Box::pin(async move {
            let result = sent.await;
            match &result {
                Ok(response) => {
                    exchange.finish(Outcome::Http(response.status().as_u16()), String::new());
                }
                Err(error) => exchange.finish(Outcome::NoResponse(OTHER), with_causes(error)),
            }
            result
        })
    }
}
