//! The layer of a gRPC channel.

use std::{
    error::Error,
    iter,
    sync::Arc,
    task::{self, Poll},
};

use http::{Request, Response, Uri, uri::Authority};
use opentelemetry::{KeyValue, trace::FutureExt};
use opentelemetry_sdk::trace::SdkTracer;
use spoor_runtime::with_causes;
use tonic::{Code, Status, TimeoutExpired, body::Body};
use tower::{BoxError, Service};

use super::{attributes, body, is_infrastructure};
use crate::{
    exchange::Exchange,
    metrics::{Operations, Outcome},
    outgoing,
    traced::{CallFuture, Traced, TracedLayer},
};

/// Traces the calls made through a tonic channel.
pub type GrpcClientLayer = TracedLayer<RpcClientState>;

/// A channel behind [`GrpcClientLayer`].
pub type GrpcClient<S> = Traced<S, RpcClientState>;

/// The state shared by the calls of a channel.
#[derive(Clone)]
pub struct RpcClientState {
    /// `None` if tracing is off.
    pub(crate) tracer: Option<SdkTracer>,
    pub(crate) operations: Arc<Operations>,
    /// The channel's destination.
    pub(crate) server: Option<Authority>,
}

/// Attributes that a caller adds to the span of one call, such as the attempt, as an extension of
/// the request.
#[derive(Clone, Debug)]
pub struct Attributes(pub Vec<KeyValue>);

impl GrpcClientLayer {
    /// Sets the channel's destination, for `server.address` and `server.port`. Requests do not have
    /// it.
    #[must_use]
    pub fn to(self, endpoint: &Uri) -> Self {
        Self(Arc::new(RpcClientState {
            server: endpoint.authority().cloned(),
            ..Arc::unwrap_or_clone(self.0)
        }))
    }
}

impl<S, B> Service<Request<B>> for GrpcClient<S>
where
    S: Service<Request<B>, Response = Response<Body>, Error = BoxError>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = CallFuture<S, Request<B>>;

    fn poll_ready(&mut self, task: &mut task::Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(task)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        if is_infrastructure(request.uri().path()) {
            return Box::pin(self.inner.call(request));
        }
        let call = self.shared.begin(&request);
        // In unsampled traces, too: the peer must follow the decision instead of making its own.
        outgoing::inject(&call.context, request.headers_mut());
        let sent = self.inner.call(request).with_context(call.context.clone());
        Box::pin(async move {
            match sent.await {
                Ok(response) => Ok(body::observe(call, response)),
                Err(error) => {
                    let (code, message) = (code_of(&*error), with_causes(&*error));
                    call.finish(Outcome::Rpc(code), message.clone());
                    Err(with_code(code, message, error).into())
                }
            }
        })
    }
}

/// The status of a call that got no response.
fn code_of(error: &(dyn Error + 'static)) -> Code {
    let mut causes = iter::successors(Some(error), |&cause| cause.source());
    match causes.any(|cause| cause.is::<TimeoutExpired>()) {
        true => Code::DeadlineExceeded,
        false => Code::Unavailable,
    }
}

/// The error for the caller, with the same status as the span. tonic's status for a connection that
/// is lost during a call is `UNKNOWN` or `CANCELLED`, as if the service or the caller had failed.
fn with_code(code: Code, message: String, error: BoxError) -> Status {
    let status = Status::from_error(error);
    match status.code() == code {
        true => status,
        false => Status::new(code, message),
    }
}

impl RpcClientState {
    fn begin<B>(&self, request: &Request<B>) -> Exchange {
        let method = attributes::method(request.uri().path());
        let operation = self.operations.get("", method);
        let server = self.server.as_ref().or(request.uri().authority());
        let context = outgoing::start(self.tracer.as_ref(), &operation, || {
            let mut attributes = attributes::of_call(server);
            let callers = request.extensions().get::<Attributes>();
            attributes.extend(callers.into_iter().flat_map(|callers| callers.0.clone()));
            attributes
        });
        Exchange::new(operation, context)
    }
}
