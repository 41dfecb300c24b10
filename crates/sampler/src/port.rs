//! A port that is served in some phases of the sampler.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use spoor_runtime::{CutOff, GrpcClients, Health, Limits, Listener, Sockets, bind};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::{
    grace::REQUEST_GRACE,
    phase::{Phase, Phases},
};

/// The delay after a failure to listen again.
const REOPEN_DELAY: Duration = Duration::from_secs(1);

/// A bound port with the router that serves it.
pub(crate) struct Port {
    /// The flag that sets the address.
    setting: &'static str,
    address: SocketAddr,
    sockets: Sockets,
    router: Router,
    health: Health,
    limits: Limits,
    clients: Option<Arc<GrpcClients>>,
}

impl Port {
    /// `address` is that of the sockets if the operating system does not return it.
    pub(crate) fn new(
        (setting, address): (&'static str, SocketAddr),
        sockets: Sockets,
        (router, health): (Router, Health),
    ) -> Self {
        Self {
            setting,
            address: sockets.local_addr().unwrap_or(address),
            sockets,
            router,
            health,
            limits: Limits::default(),
            clients: None,
        }
    }

    pub(crate) fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Follows the clients of one gRPC method.
    pub(crate) fn clients(mut self, clients: GrpcClients) -> Self {
        self.clients = Some(Arc::new(clients));
        self
    }

    /// Accepts requests in the phases for which `is_open` returns true, until the sampler leaves and
    /// the requests in flight have ended. In other phases it closes the connections, so that their
    /// clients connect to another sampler.
    pub(crate) async fn serve(
        self,
        phases: &Phases,
        is_open: fn(Phase) -> bool,
    ) -> Result<(), CutOff> {
        let mut bound = Some(self.sockets);
        loop {
            let is_next = |phase: Phase| phase == Phase::Leaving || is_open(phase);
            if phases.wait_for(is_next).await == Phase::Leaving {
                return Ok(());
            }
            let reopened = || listen_again(self.address, self.setting);
            let Some(sockets) = bound.take().or_else(reopened) else {
                sleep(REOPEN_DELAY).await;
                continue;
            };
            let stop = CancellationToken::new();
            let mut listener = Listener::new(sockets, self.router.clone()).limits(self.limits);
            if let Some(clients) = &self.clients {
                listener = listener.clients(Arc::clone(clients));
            }
            let serving = listener.serve(REQUEST_GRACE, stop.clone());
            let closing = async {
                // Health reports NOT_SERVING before the listener closes, so that balancers stop
                // sending first.
                if phases.wait_for(|phase: Phase| !is_open(phase)).await == Phase::Leaving {
                    self.health.shut_down().await;
                }
                stop.cancel();
            };
            let (served, ()) = tokio::join!(serving, closing);
            match served {
                Err(error) if phases.get() != Phase::Leaving => {
                    tracing::warn!(%error, address = %self.address, "requests cut off");
                }
                Err(error) => return Err(error),
                Ok(()) => {}
            }
        }
    }
}

fn listen_again(address: SocketAddr, setting: &str) -> Option<Sockets> {
    match bind(address, setting) {
        Ok(sockets) => Some(sockets),
        Err(error) => {
            tracing::warn!(%error, "cannot listen again; retrying");
            None
        }
    }
}
