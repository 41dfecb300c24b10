//! The sockets of a port.

use std::{
    future::poll_fn,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::atomic::{AtomicUsize, Ordering},
    task::Poll,
};

use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// The most connections that the kernel queues until they are accepted.
const MAX_QUEUED_CONNECTIONS: u32 = 1024;

/// The error for an address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} (set by {setting}): {source}")]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    /// The flag or variable that sets it.
    pub setting: String,
    /// The operating system's error.
    pub source: io::Error,
}

/// The sockets of one port. A port on 127.0.0.1 has a second one on `::1`, because `localhost`
/// resolves to either, depending on the client.
#[derive(Debug)]
pub struct Sockets {
    first: TcpListener,
    other: Option<TcpListener>,
    /// The number of polls so far, whose parity selects the socket that is polled first.
    polls: AtomicUsize,
}

/// Listens on an address; `setting` is the flag or variable that sets it, for the error.
///
/// # Errors
/// [`BindError`].
pub fn bind(address: SocketAddr, setting: &str) -> Result<Sockets, BindError> {
    Sockets::bind(address).map_err(|source| BindError {
        address,
        setting: setting.to_owned(),
        source,
    })
}

impl Sockets {
    /// Listens on an address; on 127.0.0.1 also on `::1`, if the machine has it.
    ///
    /// # Errors
    /// The operating system's error. A port that is in use on `::1` only is an error, too, unless
    /// any port was requested (0): clients of `localhost` might reach the other program.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let first = listen(address)?;
        let mut sockets = Self::from(first);
        if address.ip() == Ipv4Addr::LOCALHOST {
            let port = sockets.local_addr()?.port();
            match listen((Ipv6Addr::LOCALHOST, port).into()) {
                Ok(other) => sockets.other = Some(other),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && address.port() != 0 => {
                    return Err(error);
                }
                Err(error) => tracing::debug!(%error, port, "no listener on ::1"),
            }
        }
        Ok(sockets)
    }

    /// The address; the one on 127.0.0.1 if there are two.
    ///
    /// # Errors
    /// The operating system's error.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.first.local_addr()
    }

    /// The next connection on either socket.
    pub(super) async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        poll_fn(|context| {
            let both = [Some(&self.first), self.other.as_ref()];
            // Alternating, so that a flood on one socket does not delay the other.
            let first = self.polls.fetch_add(1, Ordering::Relaxed);
            for socket in (0..2).filter_map(|at| both[(first + at) % 2]) {
                if let Poll::Ready(accepted) = socket.poll_accept(context) {
                    return Poll::Ready(accepted);
                }
            }
            Poll::Pending
        })
        .await
    }
}

impl From<TcpListener> for Sockets {
    fn from(first: TcpListener) -> Self {
        Self {
            first,
            other: None,
            polls: AtomicUsize::new(0),
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    // A process that restarts must not wait for the TIME_WAIT of its predecessor's connections.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(MAX_QUEUED_CONNECTIONS)
}
