//! HTTP/1 connections: bounded in number, in headers and in patience.

use std::{
    convert::Infallible,
    io::{self, ErrorKind},
    net::SocketAddr,
    pin::pin,
    sync::Arc,
    time::Duration,
};

use axum::{Router, body::Body, extract::ConnectInfo, response::Response};
use http::Request;
use hyper::{body::Incoming, server::conn::http1::Builder, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;

/// Connections at once; more wait in the kernel's own queue.
const MOST_CONNECTIONS: usize = 10_000;
/// Headers of one request; more are answered with 431.
const MOST_HEADERS: usize = 100;
/// What one connection may hold of a request's head.
const MOST_HEAD_BYTES: usize = 64 * 1024;
/// For a whole head to come, and between two requests.
const PATIENCE: Duration = Duration::from_secs(10);
/// For a peer to take what is sent to it; one that reads nothing would hold its connection, and
/// what the answer holds, for as long as it likes.
#[cfg(target_os = "linux")]
const UNREAD: Duration = Duration::from_secs(30);
/// After a failure to accept that the next try would meet again, such as no file handles left.
const RESPITE: Duration = Duration::from_millis(100);

/// Accepts until `stop`, then finishes the requests in flight, however long they take.
pub(super) async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    let router: Router = router.with_state(());
    let free = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let connections = TaskTracker::new();
    while let Some(Ok(place)) = stop
        .run_until_cancelled(Arc::clone(&free).acquire_owned())
        .await
    {
        let Some(accepted) = stop.run_until_cancelled(accept(&listener)).await else {
            break;
        };
        let (stream, peer) = accepted;
        let (router, stop) = (router.clone(), stop.clone());
        connections.spawn(async move {
            converse(stream, peer, router, stop).await;
            drop(place);
        });
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) if is_the_peers(&error) => {}
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "can't accept connections"
                );
                tokio::time::sleep(RESPITE).await;
            }
        }
    }
}

fn is_the_peers(error: &io::Error) -> bool {
    use ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

/// One connection to its end; after `stop`, the request in flight is its last.
async fn converse(stream: TcpStream, peer: SocketAddr, router: Router, stop: CancellationToken) {
    // Without it answers come late, nothing worse.
    let _ = stream.set_nodelay(true);
    #[cfg(target_os = "linux")]
    if let Err(error) = socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(UNREAD)) {
        tracing::debug!(%error, %peer, "a peer that reads nothing will not be noticed");
    }
    let service = service_fn(move |request| answer(router.clone(), peer, request));
    let connection = Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_headers(MOST_HEADERS)
        .max_buf_size(MOST_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    // How it ends is the peer's affair: there is nobody left to answer.
    let ended = match stop.run_until_cancelled(connection.as_mut()).await {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error = &error as &dyn std::error::Error, %peer, "the connection broke");
    }
}

async fn answer(
    router: Router,
    peer: SocketAddr,
    request: Request<Incoming>,
) -> Result<Response, Infallible> {
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(ConnectInfo(peer));
    router.oneshot(request).await
}
