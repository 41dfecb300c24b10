//! A service from its settings to its end.

use std::net::{Ipv4Addr, SocketAddr};

use tokio_util::sync::CancellationToken;

use super::{ServeError, ServicePorts};
use crate::Telemetry;

/// A service: its settings, and the requests that it serves.
pub trait Program: Sized {
    /// A failure to run a service.
    type Error: From<ServeError>;

    /// The addresses to listen on.
    fn listen(&mut self) -> &mut ListenAddresses;

    /// Serves until `shutdown`; what it accepted by then is answered.
    ///
    /// # Errors
    /// Its own.
    fn serve(
        self,
        ports: ServicePorts,
        telemetry: &Telemetry,
        shutdown: CancellationToken,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// The addresses on which a service listens.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct ListenAddresses {
    /// Address to listen on for requests; port 0 takes any free port
    /// [default: a port of its own on 127.0.0.1]
    #[arg(long, env = "SPOOR_LISTEN", value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// Address to listen on for /metrics, /healthz and /readyz
    /// [default: a port of its own on 127.0.0.1]
    #[arg(long, env = "SPOOR_OPS_LISTEN", value_name = "ADDRESS")]
    pub ops_listen: Option<SocketAddr>,
}

impl ListenAddresses {
    /// Takes these ports of 127.0.0.1 where nothing else is said.
    pub fn or_loopback(&mut self, port: u16, ops_port: u16) {
        self.listen.get_or_insert(loopback(port));
        self.ops_listen.get_or_insert(loopback(ops_port));
    }
}

/// A service with its ports taken.
#[derive(Debug)]
pub struct Bound<P> {
    program: P,
    /// The address on which it listens.
    pub ports: ServicePorts,
}

impl<P: Program> Bound<P> {
    /// Takes its ports.
    ///
    /// # Errors
    /// [`ServeError::Bind`] names the port that cannot be bound.
    pub async fn take(mut program: P) -> Result<Self, ServeError> {
        let ListenAddresses { listen, ops_listen } = *program.listen();
        let ports = ServicePorts::take(
            listen.unwrap_or(loopback(0)),
            ops_listen.unwrap_or(loopback(0)),
        );
        Ok(Self {
            ports: ports.await?,
            program,
        })
    }

    /// Serves until `shutdown`; what it accepted by then is answered.
    ///
    /// # Errors
    /// The program's.
    pub async fn serve(
        self,
        telemetry: &Telemetry,
        shutdown: CancellationToken,
    ) -> Result<(), P::Error> {
        self.program.serve(self.ports, telemetry, shutdown).await
    }
}

/// Runs a service until `shutdown`; what it accepted by then is answered.
///
/// # Errors
/// A port that cannot be bound, or the program's own.
pub async fn run<P: Program>(
    program: P,
    telemetry: Telemetry,
    shutdown: CancellationToken,
) -> Result<(), P::Error> {
    let bound = Bound::take(program).await?;
    bound.serve(&telemetry, shutdown).await
}

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}
