//! Serves one connection until it ends.

use std::{net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::{either::Either, sync::CancellationToken};

use super::{
    Limits,
    activity::Activity,
    clients::ClientConnection,
    received::{CountingStream, count_received},
    request::RequestHandler,
};
use crate::LogLimit;

/// The most headers of one HTTP/1 request. The response to more of them is 431.
const MAX_HEADERS: usize = 100;
/// The most bytes of an HTTP/1 request's head. The query APIs accept 1,000 trace IDs in a URL, which
/// take 41 KB; the rest is for the other headers.
const MAX_HEAD_BYTES: usize = 48 * 1024;
/// The most bytes of headers of one HTTP/2 stream.
const MAX_HEADER_LIST_BYTES: u32 = 16 * 1024;
/// The most bytes that are received but not read yet, of all HTTP/2 streams of a connection.
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
/// The interval of HTTP/2 pings, which find peers that have vanished.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// The time for a peer to acknowledge sent bytes. Without it, a peer that reads nothing would keep
/// its connection, and the memory of its response, for as long as it likes.
#[cfg(target_os = "linux")]
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(30);
/// The time for a peer to close its side after a graceful shutdown without requests in flight.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// The first byte of a TLS record that begins a handshake, and an alert "protocol version"
/// in TLS 1.0's framing, which every TLS client understands.
const TLS_HANDSHAKE: u8 = 0x16;
const TLS_ALERT: [u8; 7] = [0x15, 3, 1, 0, 2, 2, 70];

/// A client with `https` in its settings retries for as long as it runs.
static TLS_REFUSALS: LogLimit = LogLimit::new();

/// Sets the socket's options, performs the TLS handshake if there is TLS, and serves requests until
/// the connection ends. After `stop`, no new requests are accepted.
pub(super) async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<TlsAcceptor>,
    handler: Arc<RequestHandler>,
    activity: Arc<Activity>,
    stop: CancellationToken,
) {
    // Otherwise a response of several frames waits for the peer's delayed acknowledgement, 40 ms.
    let _ = stream.set_nodelay(true);
    #[cfg(target_os = "linux")]
    if let Err(error) = socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(TCP_USER_TIMEOUT))
    {
        tracing::debug!(%error, %peer, "cannot set TCP_USER_TIMEOUT");
    }
    let timeout = handler.limits.header_timeout;
    let starting = async {
        match tls {
            None if is_tls(&stream).await => {
                if let Some(suppressed) = TLS_REFUSALS.admit() {
                    let advice = "refused a TLS client: this port does not use TLS; use http://";
                    tracing::warn!(%peer, suppressed, "{advice}");
                }
                // With bytes left unread, the connection would be reset instead of closed.
                let _ = stream.try_read(&mut [0; 4096]);
                let _ = stream.try_write(&TLS_ALERT);
                None
            }
            None => Some(Either::Left(count_received(stream, &activity))),
            Some(acceptor) => match acceptor.accept(count_received(stream, &activity)).await {
                Ok(stream) => Some(Either::Right(Box::new(stream))),
                Err(error) => {
                    tracing::debug!(%error, %peer, "TLS handshake failed");
                    None
                }
            },
        }
    };
    // One deadline for peeking at the first byte and for the handshake: a silent peer must not
    // occupy a connection.
    let started = tokio::select! {
        started = tokio::time::timeout(timeout, starting) => started,
        () = activity.closing() => return,
        () = stop.cancelled() => return,
    };
    match started {
        Ok(Some(stream)) => serve_requests(stream, peer, handler, activity, stop).await,
        Ok(None) => {}
        Err(_) => tracing::debug!(%peer, "no first byte or TLS handshake in time"),
    }
}

/// A connection without TLS, or with it.
type Transport = Either<CountingStream, Box<TlsStream<CountingStream>>>;

async fn is_tls(stream: &TcpStream) -> bool {
    let mut first = [0];
    matches!(stream.peek(&mut first).await, Ok(1)) && first == [TLS_HANDSHAKE]
}

/// Serves the requests of a connection. After `stop`, no new ones are accepted.
async fn serve_requests(
    stream: Transport,
    peer: SocketAddr,
    handler: Arc<RequestHandler>,
    activity: Arc<Activity>,
    stop: CancellationToken,
) {
    let limits = handler.limits;
    let requests = Arc::clone(&activity);
    let clients = handler.clients.clone();
    let client = clients.map(|clients| Arc::new(ClientConnection::new(clients)));
    let of_requests = client.clone();
    let service = service_fn(move |request| {
        if let Some(client) = &of_requests {
            client.record_request(&request);
        }
        let (handler, activity) = (Arc::clone(&handler), Arc::clone(&requests));
        async move { handler.handle(&activity, peer, request).await }
    });
    let builder = builder(&limits);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut is_ending = false;
    loop {
        let next_check = if is_ending && activity.requests() == 0 {
            // Only the peer's close is left to wait for, and it may never come.
            Some(CLOSE_TIMEOUT)
        } else {
            activity.next_check(&limits)
        };
        let Some(next_check) = next_check else {
            if is_ending {
                return;
            }
            // Graceful, so that a request that arrives at this moment still gets its response.
            connection.as_mut().graceful_shutdown();
            is_ending = true;
            continue;
        };
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, %peer, "connection failed");
                }
                if let Some(client) = client.filter(|_| !is_ending) {
                    client.record_end_by_peer();
                }
                return;
            }
            () = activity.closing() => {
                tracing::debug!(%peer, "closed a connection to make room");
                return;
            }
            () = stop.cancelled(), if !is_ending => {
                connection.as_mut().graceful_shutdown();
                is_ending = true;
            }
            () = activity.ending(), if !is_ending => {
                connection.as_mut().graceful_shutdown();
                is_ending = true;
            }
            () = tokio::time::sleep(next_check) => {
                if is_ending && activity.requests() == 0 {
                    return;
                }
            }
        }
    }
}

fn builder(limits: &Limits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        // Both protocols get their limits, since the peer chooses one by its first bytes.
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .initial_stream_window_size(limits.stream_window_bytes())
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(limits.max_streams_per_connection)
        .max_header_list_size(MAX_HEADER_LIST_BYTES);
    builder
}
