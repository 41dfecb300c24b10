//! One connection to its end.

use std::{net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::{Limits, activity::Activity, received::CountingStream, request::Answerer};
use crate::LogLimit;

/// Headers of one request; more are answered with 431.
const MAX_HEADERS: usize = 100;
/// Bytes that a connection may hold of a request's head: the query APIs accept 1,000 trace IDs in a
/// URL, 41 KB, and the other headers need some, too.
const MAX_HEAD_BYTES: usize = 48 * 1024;
/// Bytes of headers that a stream may have.
const MAX_HEADER_LIST_BYTES: u32 = 16 * 1024;
/// Bytes that one stream, and all streams of a connection, may have sent and that are not read yet.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
/// The interval of HTTP/2 pings, which find peers that have vanished.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for a peer to acknowledge what is sent to it. One that reads nothing would hold its
/// connection, and what the response holds, for as long as it likes.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED_TIMEOUT: Duration = Duration::from_secs(30);
/// Time for a peer without requests to close its side.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(1);
/// The first byte of a TLS record that begins a handshake, and an alert "protocol version"
/// in TLS 1.0's framing, which every TLS client understands.
const TLS_HANDSHAKE: u8 = 0x16;
const TLS_ALERT: [u8; 7] = [0x15, 3, 1, 0, 2, 2, 70];

/// A client with `https` in its settings tries again as long as it runs.
static TLS_REFUSALS: LogLimit = LogLimit::new();

/// Sets what a socket needs, does the handshake if there is one, and answers all requests. After
/// `stop`, those in flight are its last.
pub(super) async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<TlsAcceptor>,
    answerer: Arc<Answerer>,
    activity: Arc<Activity>,
    stop: CancellationToken,
) {
    // Otherwise an answer of several frames waits for the peer's delayed acknowledgement, 40 ms.
    let _ = stream.set_nodelay(true);
    #[cfg(target_os = "linux")]
    if let Err(error) =
        socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(UNACKNOWLEDGED_TIMEOUT))
    {
        tracing::debug!(%error, %peer, "a peer that reads nothing will not be noticed");
    }
    let within = answerer.limits.header_timeout;
    let received = Arc::clone(&activity);
    let starting = async {
        match tls {
            None if is_tls(&stream).await => {
                if let Some(suppressed) = TLS_REFUSALS.admit() {
                    let advice = "refused a TLS client: use http://, this port has no TLS";
                    tracing::warn!(%peer, suppressed, "{advice}");
                }
                // With bytes left unread, the connection would be reset instead of closed.
                let _ = stream.try_read(&mut [0; 4096]);
                let _ = stream.try_write(&TLS_ALERT);
                None
            }
            None => Some(Transport::Plain(CountingStream::new(stream, received))),
            Some(acceptor) => match acceptor.accept(CountingStream::new(stream, received)).await {
                Ok(stream) => Some(Transport::Tls(Box::new(stream))),
                Err(error) => {
                    tracing::debug!(%error, %peer, "TLS handshake failed");
                    None
                }
            },
        }
    };
    // One deadline for the look at the first byte and for the handshake: a silent peer must not
    // hold a place.
    let started = tokio::select! {
        started = tokio::time::timeout(within, starting) => started,
        () = activity.closing() => return,
        () = stop.cancelled() => return,
    };
    match started {
        Ok(Some(Transport::Plain(stream))) => {
            converse(stream, peer, answerer, activity, stop).await;
        }
        Ok(Some(Transport::Tls(stream))) => {
            converse(stream, peer, answerer, activity, stop).await;
        }
        Ok(None) => {}
        Err(_) => tracing::debug!(%peer, "nothing was sent in time"),
    }
}

enum Transport {
    Plain(CountingStream),
    Tls(Box<tokio_rustls::server::TlsStream<CountingStream>>),
}

async fn is_tls(stream: &TcpStream) -> bool {
    let mut first = [0];
    matches!(stream.peek(&mut first).await, Ok(1)) && first == [TLS_HANDSHAKE]
}

/// The requests of a connection; after the stop, those in flight are its last.
async fn converse<S>(
    stream: S,
    peer: SocketAddr,
    answerer: Arc<Answerer>,
    activity: Arc<Activity>,
    stop: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = answerer.limits;
    let requests = Arc::clone(&activity);
    let service = service_fn(move |request| {
        let (answerer, activity) = (Arc::clone(&answerer), Arc::clone(&requests));
        async move { answerer.answer(&activity, peer, request).await }
    });
    let builder = builder(&limits);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut is_ending = false;
    loop {
        let look_again = if is_ending && activity.requests() == 0 {
            // Only the peer's close is missing, and it may never come.
            Some(GOODBYE_TIMEOUT)
        } else {
            activity.look_again(&limits)
        };
        let Some(look_again) = look_again else {
            if is_ending {
                return;
            }
            // Graceful, so that a request which arrives at this moment is still answered.
            connection.as_mut().graceful_shutdown();
            is_ending = true;
            continue;
        };
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, %peer, "connection broke");
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
            () = tokio::time::sleep(look_again) => {
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
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(limits.max_streams_per_connection)
        .max_header_list_size(MAX_HEADER_LIST_BYTES);
    builder
}
