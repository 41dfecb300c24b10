//! The layer of an HTTP client: the client span, metrics, and the context in the request.

use std::{
    error::Error,
    pin::Pin,
    sync::Arc,
    task::{self, Poll},
    time::Instant,
};

use http::{Request, Response, StatusCode};
use opentelemetry::{
    Context, KeyValue,
    trace::{FutureExt, Status, TraceContextExt},
};
use opentelemetry_sdk::trace::SdkTracer;
use opentelemetry_semantic_conventions::attribute::{ERROR_TYPE, HTTP_RESPONSE_STATUS_CODE};
use tower::{Layer, Service};

use super::attributes;
use crate::{
    causes::with_causes,
    metrics::{OTHER, Operation, Operations, Outcome},
    outgoing,
};

/// Traces the requests of an HTTP client, such as `hyper_util`'s.
#[derive(Clone)]
pub struct ClientLayer(pub(crate) Arc<Caller>);

/// The state shared by the layer's requests.
pub(crate) struct Caller {
    pub(crate) tracer: Option<SdkTracer>,
    pub(crate) operations: Arc<Operations>,
}

/// A client behind [`ClientLayer`].
#[derive(Clone)]
pub struct Client<S> {
    inner: S,
    caller: Arc<Caller>,
}

impl<S> Layer<S> for ClientLayer {
    type Service = Client<S>;

    fn layer(&self, inner: S) -> Client<S> {
        Client {
            inner,
            caller: Arc::clone(&self.0),
        }
    }
}

impl<S, B, R> Service<Request<B>> for Client<S>
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
        let operation = self
            .caller
            .operations
            .get(method, request.uri().host().unwrap_or(""));
        let context = outgoing::start(self.caller.tracer.as_ref(), operation.name, || {
            attributes::of_client(&request)
        });
        outgoing::inject(&context, request.headers_mut());
        let sent = self.inner.call(request).with_context(context.clone());
        let exchange = Exchange {
            operation,
            started,
            context,
            answered: false,
        };
        Box::pin(async move {
            let result = sent.await;
            exchange.end(result.as_ref().map(Response::status));
            result
        })
    }
}

/// A request under way. Dropped before its end, it counts as unanswered.
struct Exchange {
    operation: Arc<Operation>,
    started: Instant,
    context: Context,
    answered: bool,
}

impl Exchange {
    fn end<E: Error>(mut self, outcome: Result<StatusCode, &E>) {
        self.answered = true;
        match outcome {
            Ok(status) => self.answered(status),
            Err(error) => self.failed(OTHER, with_causes(error)),
        }
    }

    fn answered(&self, status: StatusCode) {
        let code = status.as_u16();
        let span = self.context.span();
        self.operation.observe(
            Outcome::Http(code),
            self.started.elapsed(),
            span.span_context(),
        );
        // Without a span of its own the context holds another's, which isn't recorded.
        if !span.is_recording() {
            return;
        }
        span.set_attribute(KeyValue::new(HTTP_RESPONSE_STATUS_CODE, i64::from(code)));
        if code >= 400 {
            span.set_attribute(KeyValue::new(ERROR_TYPE, code.to_string()));
            span.set_status(Status::error(""));
        }
        span.end();
    }

    fn failed(&self, error_type: &'static str, description: String) {
        let span = self.context.span();
        self.operation.observe(
            Outcome::NoAnswer,
            self.started.elapsed(),
            span.span_context(),
        );
        if span.is_recording() {
            span.set_attribute(KeyValue::new(ERROR_TYPE, error_type));
            span.set_status(Status::error(description));
            span.end();
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if !self.answered {
            self.failed("cancelled", "cancelled before the answer".to_owned());
        }
    }
}
