//! The limits of a listener.

use std::time::Duration;

/// The limits of one listener on its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most connections at a time. When there are more, those that have waited longest for
    /// their peer are closed. If all of them have a request in progress, new ones wait in the
    /// kernel's queue.
    pub max_connections: usize,
    /// The most HTTP/2 streams at a time on one connection. Clients wait before they open more.
    pub max_streams_per_connection: u32,
    /// The most requests at a time over all connections. More are refused.
    pub max_requests: usize,
    /// The most bytes of request bodies that handlers have read before they respond, over all
    /// connections. More are refused.
    pub max_body_bytes: usize,
    /// The time for a TLS handshake, for a connection's first request, and for the head of each
    /// HTTP/1 request, including the wait for its first byte.
    pub header_timeout: Duration,
    /// The time for a request's body to arrive, unless the response has begun.
    pub body_timeout: Duration,
    /// The time that an HTTP/2 connection may be without a request.
    pub idle_timeout: Duration,
    /// The time that a peer may leave a response unread.
    pub stall_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 4_000,
            max_streams_per_connection: 128,
            max_requests: 4_000,
            max_body_bytes: 128 << 20,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(15),
            // Exporters and pollers send requests at least once a minute, and should not have to
            // reconnect for each.
            idle_timeout: Duration::from_secs(300),
            stall_timeout: Duration::from_secs(30),
        }
    }
}
