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
    /// One ended instead; its own output says why.
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

impl Supervisor {
    /// Starts a process for each.
    ///
    /// # Errors
    /// When the thread that writes their output can't be started.
    pub fn start(specs: Vec<Spec>, roster: Arc<Roster>, grace: Duration) -> io::Result<Self> {
        let logs = Logs::start()?;
        let readiness = Readiness::new();
        let mut supervisor = Self {
            roster: roster.clone(),
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

    /// Waits until every service says that it is ready.
    ///
    /// # Errors
    /// [`NotReady`] as soon as one ends, and when the time is over.
    pub async fn ready(&self, within: Duration) -> Result<(), NotReady> {
        match tokio::time::timeout(within, self.roster.all_ready()).await {
            Ok(outcome) => outcome,
            Err(_) => Err(NotReady::TimedOut {
                services: self.roster.unready(),
                within,
            }),
        }
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
