//! Turns of the requests of one connection.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::{FromRequestParts, Request},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{Extensions, StatusCode, request::Parts};
use tokio::{
    sync::{Mutex, OwnedMutexGuard},
    time::timeout,
};

use tonic::Status;

use super::refusal::is_grpc;
use crate::Problem;

/// The longest that a request waits in [`in_turn`] for the ones before it.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// A turn that the requests of one connection take in the order of their arrival. It is an extension
/// of each request.
///
/// A handler that takes it before it waits for others is fair to each connection: otherwise one with
/// a hundred requests would delay a request of another by all of them.
#[derive(Clone, Debug, Default)]
pub struct ConnectionTurn(Arc<Mutex<()>>);

impl ConnectionTurn {
    /// The turn in the extensions of a request; a new one if no listener received the request.
    #[must_use]
    pub fn of(extensions: &Extensions) -> Self {
        extensions.get().cloned().unwrap_or_default()
    }

    /// Waits for the turn, which lasts until the guard is dropped.
    pub async fn take(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.0).lock_owned().await
    }
}

impl<S: Sync> FromRequestParts<S> for ConnectionTurn {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.extensions))
    }
}

/// A middleware that handles the requests of a connection one after the other, up to the head of
/// each response. A request that waits longer than ten seconds is refused.
pub async fn in_turn(request: Request, next: Next) -> Response {
    in_turn_within(MAX_WAIT, request, next).await
}

async fn in_turn_within(max_wait: Duration, request: Request, next: Next) -> Response {
    let connection = ConnectionTurn::of(request.extensions());
    let Ok(_turn) = timeout(max_wait, connection.take()).await else {
        let detail = "earlier requests on this connection take too long; try again in a moment, or on \
                      another connection";
        return match is_grpc(request.headers()) {
            true => Status::unavailable(detail).into_http(),
            false => Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).into_response(),
        };
    };
    next.run(request).await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{future::pending, pin::pin};

    use axum::{Router, body::Body, middleware::from_fn, routing::get};
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn requests_of_a_connection_take_turns() {
        let router = Router::new()
            .route("/", get(async || {}))
            .route("/never", get(pending::<()>))
            .layer(from_fn(in_turn));
        let request = |path: &str, connection: &ConnectionTurn| {
            let request = Request::get(path).extension(connection.clone());
            router.clone().oneshot(request.body(Body::empty()).unwrap())
        };
        let (busy, other) = (ConnectionTurn::default(), ConnectionTurn::default());
        tokio::select! {
            biased;
            _ = pin!(request("/never", &busy)) => panic!("the handler never responds"),
            _ = pin!(request("/", &busy)) => panic!("it is not its turn"),
            response = pin!(request("/", &other)) => assert!(response.unwrap().status().is_success()),
        }
    }

    #[tokio::test]
    async fn request_that_waits_too_long_is_refused() {
        let router = Router::new().route("/", get(async || {}));
        let soon = async |request, next| in_turn_within(Duration::ZERO, request, next).await;
        let router = router.layer(from_fn(soon));
        let connection = ConnectionTurn::default();
        let _turn = connection.take().await;
        for (kind, status) in [("application/json", 503), ("application/grpc", 200)] {
            let request = Request::get("/").extension(connection.clone());
            let request = request.header("content-type", kind).body(Body::empty());
            let refused = router.clone().oneshot(request.unwrap()).await.unwrap();
            assert_eq!(refused.status(), status);
            assert_eq!(refused.headers().contains_key("grpc-status"), status == 200);
        }
    }
}
