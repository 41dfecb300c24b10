//! The connections on which clients call one gRPC method.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use http::{Request, Version};
use parking_lot::Mutex;

/// Follows the HTTP/2 connections on which clients have called one gRPC method, of all listeners
/// that share it. Connections for health checks, for example, do not count, nor do those over
/// HTTP/1, which clients open and close all the time.
#[derive(derive_more::Debug)]
pub struct GrpcClients {
    path: &'static str,
    /// The number of open connections. Locked during `on_change`, so that changes are reported in
    /// their order.
    open: Mutex<usize>,
    #[debug(skip)]
    on_change: Box<dyn Fn(ClientsChange) + Send + Sync>,
}

/// A change of the clients of a [`GrpcClients`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientsChange {
    /// A client has connected, and there was none.
    Connected,
    /// There is no client any more, since the last one ended its connection or has vanished. Not
    /// reported if the listener closed it: for its idleness, to make room, or when it stopped.
    Ended,
}

impl GrpcClients {
    /// Follows the clients of the method with this path, `/package.Service/Method`. `on_change` must
    /// not block.
    pub fn new(
        path: &'static str,
        on_change: impl Fn(ClientsChange) + Send + Sync + 'static,
    ) -> Self {
        Self {
            path,
            open: Mutex::new(0),
            on_change: Box::new(on_change),
        }
    }

    fn connect(&self) {
        let mut open = self.open.lock();
        *open += 1;
        if *open == 1 {
            (self.on_change)(ClientsChange::Connected);
        }
    }

    fn disconnect(&self, is_ended_by_peer: bool) {
        let mut open = self.open.lock();
        *open -= 1;
        if *open == 0 && is_ended_by_peer {
            (self.on_change)(ClientsChange::Ended);
        }
    }
}

/// A connection, which counts from its first call on and until it is dropped.
#[derive(Debug)]
pub(super) struct ClientConnection {
    clients: Arc<GrpcClients>,
    is_counted: AtomicBool,
    is_ended_by_peer: AtomicBool,
}

impl ClientConnection {
    pub(super) fn new(clients: Arc<GrpcClients>) -> Self {
        Self {
            clients,
            is_counted: AtomicBool::new(false),
            is_ended_by_peer: AtomicBool::new(false),
        }
    }

    /// Counts the connection if this is its first call of the method.
    pub(super) fn record_request<B>(&self, request: &Request<B>) {
        let is_call =
            request.version() == Version::HTTP_2 && request.uri().path() == self.clients.path;
        if is_call && !self.is_counted.swap(true, Relaxed) {
            self.clients.connect();
        }
    }

    /// Records that the peer has ended the connection.
    pub(super) fn record_end_by_peer(&self) {
        self.is_ended_by_peer.store(true, Relaxed);
    }
}

impl Drop for ClientConnection {
    fn drop(&mut self) {
        if *self.is_counted.get_mut() {
            self.clients.disconnect(*self.is_ended_by_peer.get_mut());
        }
    }
}
