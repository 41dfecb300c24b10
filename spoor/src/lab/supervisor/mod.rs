//! The services as child processes: started, watched, started again when they die, stopped in
//! an order that answers every request.

mod backoff;
mod child;
mod logs;
mod ready;
mod roster;

use std::{io, process::ExitStatus, sync::Arc, time::Duration};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use child::{SUPERVISED, Spec, tell_to_end};
pub use roster::{Child, Roster, State};

use self::{child::Supervised, logs::Logs, ready::Readiness};
use crate::service::Service;

/// The children of one lab.
pub struct Supervisor {
    roster: Arc<Roster>,
    logs: Logs,
    edges: Group,
    backends: Group,
}

/// Children that stop together.
struct Group {
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

/// Why not all services are ready.
#[derive(Debug, thiserror::Error)]
pub enum NotReady {
    /// One ended each time; its own output says why.
    #[error("{service} ended while it started ({status}): see its lines above")]
    Ended {
        /// Which.
        service: Service,
        /// How.
        status: ExitStatus,
    },
    /// One could not be started at all.
    #[error("can't start {service}: {reason}")]
    Spawn {
        /// Which.
        service: Service,
        /// Why.
        reason: String,
    },
    /// The time is over.
    #[error("{} not ready within {within:?}", names(services))]
    TimedOut {
        /// Those that are not.
        services: Vec<Service>,
        /// The time they had.
        within: Duration,
    },
}

impl NotReady {
    fn services(&self) -> Vec<Service> {
        match self {
            Self::Ended { service, .. } | Self::Spawn { service, .. } => vec![*service],
            Self::TimedOut { services, .. } => services.clone(),
        }
    }
}

impl Supervisor {
    /// Starts a process for each. Their output is held until [`Supervisor::ready`] returns.
    ///
    /// # Errors
    /// When the thread that writes their output can't be started.
    pub fn start(specs: Vec<Spec>, roster: Arc<Roster>, grace: Duration) -> io::Result<Self> {
        let logs = Logs::start()?;
        let readiness = Readiness::new();
        let mut supervisor = Self {
            roster: roster.clone(),
            logs: logs.clone(),
            edges: Group::new(),
            backends: Group::new(),
        };
        for spec in specs {
            let group = if spec.service.is_edge() {
                &mut supervisor.edges
            } else {
                &mut supervisor.backends
            };
            let supervised = Supervised {
                spec,
                roster: roster.clone(),
                logs: logs.clone(),
                readiness: readiness.clone(),
                stop: group.stop.clone(),
                grace,
            };
            group.tasks.spawn(supervised.run());
        }
        Ok(supervisor)
    }

    /// Waits until every service says that it is ready. If they do, what they said so far is
    /// dropped, except warnings and the lines of services that were started again; if not, all of
    /// it is printed.
    ///
    /// # Errors
    /// [`NotReady`] when one ends again and again, and when the time is over.
    pub async fn ready(&self, within: Duration) -> Result<(), NotReady> {
        let waited = tokio::time::timeout(within, self.roster.all_ready()).await;
        let outcome = waited.unwrap_or_else(|_| {
            Err(NotReady::TimedOut {
                services: self.roster.unready(),
                within,
            })
        });
        match &outcome {
            Ok(()) => self.logs.pass_on(self.roster.restarted()).await,
            Err(error) => self.logs.give_up(error.services()).await,
        }
        outcome
    }

    /// Stops the edges, and when they have ended those that they call.
    pub async fn stop(self) {
        self.edges.stop().await;
        self.backends.stop().await;
    }
}

impl Group {
    fn new() -> Self {
        Self {
            stop: CancellationToken::new(),
            tasks: JoinSet::new(),
        }
    }

    async fn stop(mut self) {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!("a service's supervisor failed: {error}");
            }
        }
    }
}

fn names(services: &[Service]) -> String {
    services
        .iter()
        .map(|service| service.name())
        .collect::<Vec<_>>()
        .join(", ")
}
