//! The layers and services of all protocols, and the response of a traced server.

use std::{pin::Pin, sync::Arc};

use opentelemetry::{Context, trace::FutureExt};
use tower::{Layer, Service};

use crate::faults::Injection;

/// Traces the requests of a service. `T` is the state of one side of a protocol, which all
/// requests share.
#[derive(Clone, Debug)]
pub struct TracedLayer<T>(pub(crate) Arc<T>);

/// A service behind a [`TracedLayer`].
#[derive(Clone, Debug)]
pub struct Traced<S, T> {
    pub(crate) inner: S,
    pub(crate) shared: Arc<T>,
}

/// The result of a call to a service.
pub(crate) type CallResult<S, R> = Result<<S as Service<R>>::Response, <S as Service<R>>::Error>;
/// A call in progress.
pub(crate) type CallFuture<S, R> = Pin<Box<dyn Future<Output = CallResult<S, R>> + Send>>;

impl<S, T> Layer<S> for TracedLayer<T> {
    type Service = Traced<S, T>;

    fn layer(&self, inner: S) -> Traced<S, T> {
        Traced {
            inner,
            shared: Arc::clone(&self.0),
        }
    }
}

/// Calls a server's handler in the context of its request, after injecting the fault. `failure` is
/// the response if the fault is an error, and `end` ends the request.
pub(crate) fn respond<S, R>(
    handler: &mut S,
    request: R,
    context: Context,
    fault: Injection,
    failure: fn() -> S::Response,
    end: impl FnOnce(CallResult<S, R>) -> CallResult<S, R> + Send + 'static,
) -> CallFuture<S, R>
where
    S: Service<R, Future: Send + 'static> + Clone + Send + 'static,
    R: Send + 'static,
{
    // The usual case needs neither a clone of the service nor a second future.
    if fault == Injection::default() {
        let attached = context.clone().attach();
        let response = handler.call(request);
        drop(attached);
        let response = response.with_context(context);
        return Box::pin(async move { end(response.await) });
    }
    // Only the original was polled ready, not the clone.
    let clone = handler.clone();
    let mut handler = std::mem::replace(handler, clone);
    let current = context.clone();
    let response = async move {
        let result = if fault.inject(&context).await {
            Ok(failure())
        } else {
            handler.call(request).await
        };
        end(result)
    };
    Box::pin(response.with_context(current))
}
