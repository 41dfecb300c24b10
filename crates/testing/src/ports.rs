//! Ports for programs that need a port number before they start.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process,
    sync::atomic::{AtomicU16, Ordering},
};

/// The ports to choose from. They are below the kernel's ephemeral ports, so that no connection and
/// no listener on port 0 takes one between its choice and its use, and below those that a lab chooses
/// for its services (`spoor_lab`).
const PORTS: std::ops::Range<u16> = 10_000..20_000;

/// Addresses on loopback where nothing listens. Each is returned only once per process.
#[must_use]
pub fn free<const N: usize>() -> [SocketAddr; N] {
    [(); N].map(|()| next_free())
}

fn next_free() -> SocketAddr {
    static COUNT: AtomicU16 = AtomicU16::new(0);
    // Test processes that run at the same time start at different ports.
    let first = process::id().wrapping_mul(2_654_435_761) >> 16;
    (0..PORTS.len())
        .find_map(|_| {
            let at = first as usize + usize::from(COUNT.fetch_add(1, Ordering::Relaxed));
            let port = PORTS.start + u16::try_from(at % PORTS.len()).unwrap();
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            TcpListener::bind(address).ok().map(|_| address)
        })
        .unwrap()
}
