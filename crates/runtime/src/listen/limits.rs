//! The limits of a listener.

use std::time::Duration;

/// The limits of one listener on its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once. When there are more, those that wait longest for their peer are
    /// closed; if every one of them is at work, new ones wait in the kernel's queue.
    pub max_connections: usize,
    /// HTTP/2 streams at once on one connection; a client holds back what is more.
    pub max_streams_per_connection: u32,
    /// Requests at once over all connections; more are refused.
    pub max_requests: usize,
    /// Bytes of request bodies that handlers have read and not yet answered, over all
    /// connections; more are refused.
    pub max_body_bytes: usize,
    /// Time for a TLS handshake, for a connection's first request, and for the head of each
    /// HTTP/1 request, the wait for it included.
    pub header_timeout: Duration,
    /// Time for a request's body to arrive, unless the response has begun.
    pub body_timeout: Duration,
    /// Time that an HTTP/2 connection may be without a request.
    pub idle_timeout: Duration,
    /// Time that a peer may leave a response unread.
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
            // Exporters and pollers come at least once a minute and are not to reconnect for it.
            idle_timeout: Duration::from_secs(300),
            stall_timeout: Duration::from_secs(30),
        }
    }
}
