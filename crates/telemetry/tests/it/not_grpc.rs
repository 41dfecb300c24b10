//! An HTTP/2 server that is not a gRPC server.

use std::convert::Infallible;

use http::{Response, StatusCode};
use http_body_util::Empty;
use hyper::{body::Bytes, server::conn::http2::Builder, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

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
