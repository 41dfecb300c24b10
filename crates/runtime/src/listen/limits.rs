//! The limits of a listener.

use std::time::Duration;

/// The smallest window of a stream. With less, a body of usual size would wait for its peer several
/// times.
const MIN_STREAM_WINDOW_BYTES: u32 = 16 * 1024;
/// The largest window of a stream. More would make no body faster on a network within a cluster.
const MAX_STREAM_WINDOW_BYTES: u32 = 256 * 1024;

/// The limits of one listener on its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most connections at a time; a listener has at most half of those that its process may
    /// have. When there are more, some of those that wait for their peer are closed, those without a
    /// request in progress first. If all of them wait for the server, the oldest end after their
    /// requests in progress, and new ones wait until then, all but one in the kernel's queue.
    pub max_connections: usize,
    /// The most HTTP/2 streams at a time on one connection. Clients wait before they open more.
    pub max_streams_per_connection: u32,
    /// The most requests at a time over all connections. While fewer than a quarter of them are
    /// free, requests of a connection with more than its equal share of that quarter are refused.
    /// When none is free, a quarter as many wait for up to a second, and further ones are refused.
    /// A single connection, such as that of a gateway to its upstream, therefore has at most three
    /// quarters.
    pub max_requests: usize,
    /// The most bytes of request bodies that handlers have read before they respond, over all
    /// connections. Further bytes are refused, and the largest of the bodies that have been
    /// arriving for more than 2 s end. Bodies that no handler has read yet take up to as many bytes
    /// again, or 16 KiB for each of `max_requests` if that is more. Those of requests that wait for
    /// one of `max_requests` take up to a quarter of that in addition.
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

impl Limits {
    /// The most bytes of one HTTP/2 stream that are received but not read yet. While its handler
    /// waits before it reads, for its turn or for an injected delay, a request holds up to this
    /// much, so the windows of all requests together should fit in `max_body_bytes`.
    pub(super) fn stream_window_bytes(&self) -> u32 {
        let share = self.max_body_bytes / self.max_requests.max(1);
        u32::try_from(share)
            .unwrap_or(u32::MAX)
            .clamp(MIN_STREAM_WINDOW_BYTES, MAX_STREAM_WINDOW_BYTES)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unread_bodies_fit_in_the_bound_on_bodies() {
        let limits = Limits::default();
        let unread = limits.stream_window_bytes() as usize * limits.max_requests;
        assert!(unread <= limits.max_body_bytes, "{unread}");
    }

    #[test]
    fn a_window_is_bounded_both_ways() {
        let window = |max_requests| {
            let limits = Limits {
                max_requests,
                ..Limits::default()
            };
            limits.stream_window_bytes()
        };
        assert_eq!(window(0), MAX_STREAM_WINDOW_BYTES);
        assert_eq!(window(1_000_000), MIN_STREAM_WINDOW_BYTES);
    }
}
