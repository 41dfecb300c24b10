//! Accepts connections within limits until the listener is stopped.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::Router;
use tokio::{
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Limits, Sockets,
    body::Budget,
    clients::GrpcClients,
    connection,
    registry::{PROCESS, max_connections},
    request::{RequestHandler, Stop},
};
use crate::LogLimit;

/// The delay after a failed accept that is likely to fail again, such as when no descriptors are
/// left, and the delay if connections were closed to make room.
const RETRY_DELAY: Duration = Duration::from_millis(100);
const RETRY_DELAY_AFTER_EVICTION: Duration = Duration::from_millis(5);
/// Failures to accept repeat with every attempt.
static ACCEPT_FAILURES: LogLimit = LogLimit::new();

/// A port with the router that serves it.
// axum-server could replace little of this: it accepts connections and reloads certificates, but
// limits neither their number nor the time that they may wait for their peer.
#[derive(derive_more::Debug)]
pub struct Listener {
    sockets: Sockets,
    router: Router,
    limits: Limits,
    clients: Option<Arc<GrpcClients>>,
    #[debug(skip)]
    tls: Option<TlsAcceptor>,
}

/// The interval of checks for stalled connections while a listener drains.
const DRAIN_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The error for requests that were still in flight when the grace period ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("requests cut off {} s after the shutdown began: {requests}", .grace.as_secs_f64())]
pub struct CutOff {
    /// The number of requests.
    pub requests: usize,
    /// The grace period.
    pub grace: Duration,
}

impl Listener {
    /// Serves a router over HTTP/1 and HTTP/2. Handlers and layers find the peer's address in the
    /// extensions `axum::extract::ConnectInfo<SocketAddr>` and tonic's `TcpConnectInfo`.
    pub fn new(sockets: impl Into<Sockets>, router: Router) -> Self {
        Self {
            sockets: sockets.into(),
            router,
            limits: Limits::default(),
            clients: None,
            tls: None,
        }
    }

    /// Sets the limits.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Follows the clients of one gRPC method.
    #[must_use]
    pub fn clients(mut self, clients: Arc<GrpcClients>) -> Self {
        self.clients = Some(clients);
        self
    }

    /// Serves over TLS only.
    #[must_use]
    pub fn tls(mut self, acceptor: TlsAcceptor) -> Self {
        self.tls = Some(acceptor);
        self
    }

    /// Accepts connections until `stop`, then waits for the requests in flight for at most `grace`.
    ///
    /// # Errors
    /// [`CutOff`].
    pub async fn serve(self, grace: Duration, stop: CancellationToken) -> Result<(), CutOff> {
        let Self {
            sockets,
            router,
            mut limits,
            clients,
            tls,
        } = self;
        let is_loopback = sockets
            .local_addr()
            .is_ok_and(|address| address.ip().is_loopback());
        let listener = PROCESS.next_listener();
        // Half of those that the process may have: connections that wait for the server are not closed
        // to make room, and other listeners need some.
        limits.max_connections = limits.max_connections.min(max_connections() / 2).max(1);
        let free = Arc::new(Semaphore::new(limits.max_connections));
        let handler = Arc::new(RequestHandler {
            listener,
            // axum recommends `with_state` before serving: it prepares the router once, not per
            // request.
            router: router.with_state(()),
            limits,
            clients,
            // On loopback only, as the protection against DNS rebinding; see `host`.
            checks_host: is_loopback,
            busy: Arc::default(),
            free: Arc::new(Semaphore::new(limits.max_requests)),
            waiting: Semaphore::new(limits.max_requests.div_ceil(4)),
            budget: Arc::new(Budget::new(limits.max_body_bytes)),
            stop: Stop(stop.clone()),
        });
        let connections = Connections {
            handler,
            tls,
            tasks: TaskTracker::new(),
            stop: stop.clone(),
            abort: CancellationToken::new(),
            cut_off: Arc::default(),
        };
        let accepting = async {
            loop {
                let (stream, peer) = accept(&sockets).await;
                // Acquired after accepting, so that others are closed only for a connection that
                // exists.
                let permit = acquire_permit(&free, listener).await;
                PROCESS.limit_connections();
                connections.spawn(stream, peer, permit);
            }
        };
        stop.run_until_cancelled(accepting).await;
        // Closed before draining, so that new clients go to another replica instead of waiting.
        drop(sockets);
        connections.drain(grace).await
    }
}

/// The connections of a listener.
struct Connections {
    handler: Arc<RequestHandler>,
    tls: Option<TlsAcceptor>,
    tasks: TaskTracker,
    stop: CancellationToken,
    abort: CancellationToken,
    cut_off: Arc<AtomicUsize>,
}

impl Connections {
    fn spawn(&self, stream: TcpStream, peer: SocketAddr, permit: impl Send + 'static) {
        let activity = PROCESS.new_activity(&self.handler.busy);
        let registered = PROCESS.add(self.handler.listener, Arc::clone(&activity));
        let stop = self.stop.clone();
        let tls = self.tls.clone();
        let handler = Arc::clone(&self.handler);
        let serving = connection::serve(stream, peer, tls, handler, Arc::clone(&activity), stop);
        let (abort, cut_off) = (self.abort.clone(), Arc::clone(&self.cut_off));
        self.tasks.spawn(async move {
            let mut serving = std::pin::pin!(serving);
            if abort.run_until_cancelled(serving.as_mut()).await.is_none() {
                cut_off.fetch_add(activity.requests(), Ordering::Relaxed);
            }
            drop((permit, registered));
        });
    }

    async fn drain(self, grace: Duration) -> Result<(), CutOff> {
        self.tasks.close();
        let draining = async {
            // Connections whose peers have stopped reading would otherwise take the whole grace
            // period.
            while timeout(DRAIN_CHECK_INTERVAL, self.tasks.wait())
                .await
                .is_err()
            {
                PROCESS.close_stalled(self.handler.listener);
            }
        };
        if timeout(grace, draining).await.is_ok() {
            return Ok(());
        }
        // The tasks end at their next await, so the second wait is short and the count complete.
        self.abort.cancel();
        self.tasks.wait().await;
        match self.cut_off.load(Ordering::Relaxed) {
            0 => Ok(()),
            requests => Err(CutOff { requests, grace }),
        }
    }
}

/// Acquires the permit of an accepted connection, closing others if there is none.
async fn acquire_permit(free: &Arc<Semaphore>, listener: u64) -> Option<OwnedSemaphorePermit> {
    loop {
        if let Ok(permit) = Arc::clone(free).try_acquire_owned() {
            return Some(permit);
        }
        PROCESS.make_room(|of| of == listener);
        let acquiring = Arc::clone(free).acquire_owned();
        // Connections with a request in progress may wait for their peer a moment later.
        if let Ok(permit) = timeout(RETRY_DELAY, acquiring).await {
            return permit.ok();
        }
    }
}

/// Accepts the next connection, retrying after failures.
async fn accept(sockets: &Sockets) -> (TcpStream, SocketAddr) {
    loop {
        let error = match sockets.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => error,
        };
        // accept(2) on Linux reports pending errors of the new connection as its own.
        if is_connection_error(&error) {
            continue;
        }
        let evicted = PROCESS.make_room(|_| true);
        if let Some(suppressed) = ACCEPT_FAILURES.admit() {
            tracing::error!(%error, evicted, suppressed, "cannot accept connections");
        }
        tokio::time::sleep(if evicted > 0 {
            RETRY_DELAY_AFTER_EVICTION
        } else {
            RETRY_DELAY
        })
        .await;
    }
}

fn is_connection_error(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}
