//! A service and its arguments.

use std::net::{Ipv4Addr, SocketAddr};

use tokio_util::sync::CancellationToken;

use super::{ServeError, Server};
use crate::Telemetry;

/// A service: its settings, and the requests that it serves.
pub trait Program {
    /// A failure to run a service.
    type Error: From<ServeError>;

    /// Serves until [`Server::shutdown`]. Requests accepted before then are completed.
    ///
    /// # Errors
    /// The error of the service.
    fn serve(self, server: Server) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// The arguments of a service: the addresses that every service has, and its own settings.
#[derive(clap::Args, Clone, Debug)]
pub struct ServiceArgs<P: clap::Args> {
    /// The addresses to listen on.
    #[command(flatten)]
    pub listen: ListenAddresses,
    /// The service's own settings.
    #[command(flatten)]
    pub program: P,
}

impl<P: Program + clap::Args> ServiceArgs<P> {
    /// Runs the service until `shutdown`. Requests accepted before then are completed.
    ///
    /// # Errors
    /// A port cannot be bound, or the service fails.
    pub async fn run(
        self,
        telemetry: Telemetry,
        shutdown: CancellationToken,
    ) -> Result<(), P::Error> {
        let server = Server::bind(self.listen, telemetry, shutdown)?;
        self.program.serve(server).await
    }
}

/// The addresses on which a service listens.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct ListenAddresses {
    /// Address to listen on for requests; port 0 takes any free port
    /// [default: the service's own port on 127.0.0.1]
    #[arg(long, env = "SPOOR_LISTEN", value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// Address to listen on for /metrics, /healthz and /readyz
    /// [default: the service's own port on 127.0.0.1]
    #[arg(long, env = "SPOOR_OPS_LISTEN", value_name = "ADDRESS")]
    pub ops_listen: Option<SocketAddr>,
}

impl ListenAddresses {
    /// Uses these ports of 127.0.0.1 for addresses that are not set.
    pub fn or_loopback(&mut self, port: u16, ops_port: u16) {
        let loopback = |port| (Ipv4Addr::LOCALHOST, port).into();
        self.listen.get_or_insert(loopback(port));
        self.ops_listen.get_or_insert(loopback(ops_port));
    }
}
