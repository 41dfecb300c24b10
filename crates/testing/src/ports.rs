//! Ports for programs that need to know theirs before they start.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process,
    sync::atomic::{AtomicU16, Ordering},
};

/// Below those that the kernel chooses from: between a port's choice and its use, nobody's
/// connection and no listener on port 0 gets it.
const CHOICE: std::ops::Range<u16> = 10_000..32_000;

/// Addresses on loopback where nothing listens, each given once in a process.
#[must_use]
pub fn free<const N: usize>() -> [SocketAddr; N] {
    [(); N].map(|()| next())
}

fn next() -> SocketAddr {
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    // Processes that run at the same time begin far apart.
    let begin = process::id().wrapping_mul(2_654_435_761) >> 16;
    (0..CHOICE.len())
        .find_map(|_| {
            let at = begin as usize + usize::from(GIVEN.fetch_add(1, Ordering::Relaxed));
            let port = CHOICE.start + u16::try_from(at % CHOICE.len()).unwrap();
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            TcpListener::bind(address).ok().map(|_| address)
        })
        .unwrap()
}
