//! Somebody else where a gRPC server is expected: HTTP/2, and nothing that was asked for.

use std::convert::Infallible;

use http::{Response, StatusCode};
use http_body_util::Empty;
use hyper::{body::Bytes, server::conn::http2::Builder, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

/// Answers on the first connection, and keeps it.
pub async fn first_on(listener: &TcpListener) {
    let (stream, _) = listener.accept().await.unwrap();
    let not_found = service_fn(async |_| {
        let mut answer = Response::new(Empty::<Bytes>::new());
        *answer.status_mut() = StatusCode::NOT_FOUND;
        Ok::<_, Infallible>(answer)
    });
    let served =
        Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), not_found);
    tokio::spawn(served);
}
