//! An HTTP/2 server that is not a gRPC server.

use std::{convert::Infallible, future::pending, sync::Arc};

use http::{Request, Response, StatusCode};
use http_body_util::Empty;
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http2::Builder,
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpListener, sync::Notify};

/// Serves the first connection, which stays open.
pub async fn accept_first(listener: &TcpListener) {
    let (stream, _) = listener.accept().await.unwrap();
    let not_found = service_fn(async |_| {
        let mut response = Response::new(Empty::<Bytes>::new());
        *response.status_mut() = StatusCode::NOT_FOUND;
        Ok::<_, Infallible>(response)
    });
    let served =
        Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), not_found);
    tokio::spawn(served);
}

/// Accepts the first connection, and closes it when it has received a request.
pub async fn lose_first(listener: &TcpListener) {
    let (stream, _) = listener.accept().await.unwrap();
    let called = Arc::new(Notify::new());
    let received = Arc::clone(&called);
    let never = service_fn(move |_: Request<Incoming>| {
        received.notify_one();
        pending::<Result<Response<Empty<Bytes>>, Infallible>>()
    });
    let served = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), never);
    tokio::select! {
        _ = served => {}
        () = called.notified() => {}
    }
}
