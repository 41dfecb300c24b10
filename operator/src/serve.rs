//! Connections: bounded in number, in heads and in patience; plain or over TLS.

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
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::transport::server::TcpConnectInfo;
use tower::ServiceExt;

/// Headers of one request; more are answered with 431.
const MOST_HEADERS: usize = 100;
/// What one connection may hold of a request's head.
const MOST_HEAD_BYTES: usize = 16 * 1024;
/// For a whole head to come, and between two requests; and for a TLS handshake.
const PATIENCE: Duration = Duration::from_secs(10);
/// Peers that are gone without a word are found by asking this often.
const KEEPALIVE: Duration = Duration::from_secs(20);
/// Requests at once on one connection; a client of a stream opens one.
const MOST_STREAMS: u32 = 32;
/// After a failure to accept that the next try would meet again, such as no file handles left.
const RESPITE: Duration = Duration::from_millis(100);

/// Why a port can't be listened at.
#[derive(Debug, thiserror::Error)]
#[error("can't listen at {address} ({setting})")]
pub struct BindError {
    /// The port.
    pub address: SocketAddr,
    /// The setting that says so.
    pub setting: &'static str,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// What is spoken at a port.
#[derive(Clone)]
pub enum Speaks {
    /// HTTP/1.1.
    Http,
    /// gRPC, which is HTTP/2 from the first byte.
    Grpc,
    /// gRPC inside of TLS.
    GrpcOverTls(TlsAcceptor),
}

/// A port with what answers at it.
pub struct Port {
    /// The port.
    pub listener: TcpListener,
    /// What answers.
    pub router: Router,
    /// What is spoken there.
    pub speaks: Speaks,
    /// Connections at once; more wait in the kernel's own queue.
    pub most_connections: usize,
}

/// Takes a port, and says where that is: 0 takes any free one. `setting` is what says so.
///
/// # Errors
/// [`BindError`].
pub async fn bind(
    address: SocketAddr,
    setting: &'static str,
) -> Result<(TcpListener, SocketAddr), BindError> {
    let bound = TcpListener::bind(address)
        .await
        .and_then(|listener| listener.local_addr().map(|address| (listener, address)));
    bound.map_err(|source| BindError {
        address,
        setting,
        source,
    })
}

impl Port {
    /// Accepts until `stop`, then lets the requests in flight finish for as long as `grace`.
    pub async fn serve(self, grace: Duration, stop: CancellationToken) {
        let Self {
            listener,
            router,
            speaks,
            most_connections,
        } = self;
        let free = Arc::new(Semaphore::new(most_connections));
        let connections = TaskTracker::new();
        let cut = CancellationToken::new();
        while let Some(Ok(place)) = stop
            .run_until_cancelled(Arc::clone(&free).acquire_owned())
            .await
        {
            let Some(accepted) = stop.run_until_cancelled(accept(&listener)).await else {
                break;
            };
            let (stream, peer) = accepted;
            let (router, speaks, stop) = (router.clone(), speaks.clone(), stop.clone());
            let talk = converse(stream, peer, router, speaks, stop);
            let cut = cut.clone();
            connections.spawn(async move {
                cut.run_until_cancelled(talk).await;
                drop(place);
            });
        }
        drop(listener);
        connections.close();
        if tokio::time::timeout(grace, connections.wait())
            .await
            .is_err()
        {
            cut.cancel();
            connections.wait().await;
        }
    }
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

/// One connection to its end.
async fn converse(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    speaks: Speaks,
    stop: CancellationToken,
) {
    // Without it answers come late, nothing worse.
    let _ = stream.set_nodelay(true);
    match speaks {
        Speaks::Http => answer_all(stream, peer, router, false, stop).await,
        Speaks::Grpc => answer_all(stream, peer, router, true, stop).await,
        Speaks::GrpcOverTls(acceptor) => {
            match tokio::time::timeout(PATIENCE, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => answer_all(stream, peer, router, true, stop).await,
                Ok(Err(error)) => {
                    tracing::debug!(
                        error = &error as &dyn std::error::Error,
                        %peer,
                        "no TLS connection came about"
                    );
                }
                Err(_) => tracing::debug!(%peer, "no TLS connection came about in time"),
            }
        }
    }
}

/// The requests of a connection; after `stop`, those in flight are its last.
async fn answer_all<S>(
    stream: S,
    peer: SocketAddr,
    router: Router,
    is_grpc: bool,
    stop: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| answer(router.clone(), peer, request));
    let mut builder = Builder::new(TokioExecutor::new());
    if is_grpc {
        builder = builder.http2_only();
    } else {
        builder = builder.http1_only();
    }
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_headers(MOST_HEADERS)
        .max_buf_size(MOST_HEAD_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(PATIENCE)
        .max_concurrent_streams(MOST_STREAMS)
        .max_header_list_size(MOST_HEAD_BYTES as u32);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    // How it ends is the peer's affair: there is nobody left to answer.
    let ended = match stop.run_until_cancelled(connection.as_mut()).await {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error = %error, %peer, "the connection broke");
    }
}

async fn answer(
    router: Router,
    peer: SocketAddr,
    request: Request<Incoming>,
) -> Result<Response, Infallible> {
    let mut request = request.map(Body::new);
    let extensions = request.extensions_mut();
    extensions.insert(ConnectInfo(peer));
    extensions.insert(TcpConnectInfo {
        local_addr: None,
        remote_addr: Some(peer),
    });
    router.oneshot(request).await
}
