//! The services as child processes: started, restarted when they end, and stopped in an order in
//! which every request can be finished.

mod child;
mod logs;
mod not_ready;
mod ready;
mod roster;

use std::{io, sync::Arc, time::Duration};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use child::SUPERVISED;
pub(crate) use child::Spec;
pub use not_ready::NotReady;
pub(crate) use roster::{Child, Roster, State};

use self::{child::Supervised, logs::Logs, ready::Readiness};

/// The children of one lab.
pub(crate) struct Supervisor {
    roster: Arc<Roster>,
    logs: Logs,
    edges: Group,
    backends: Group,
}

/// Children that stop together.
#[derive(Default)]
struct Group {
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Supervisor {
    /// Starts a process for each service. Their output is held until
    /// [`Supervisor::wait_until_ready`] returns.
    ///
    /// # Errors
    /// If the thread that writes their output cannot be started.
    pub(crate) fn start(
        specs: Vec<Spec>,
        roster: Arc<Roster>,
        grace: Duration,
    ) -> io::Result<Self> {
        let logs = Logs::start()?;
        let readiness = Readiness::default();
        let mut supervisor = Self {
            roster: roster.clone(),
            logs: logs.clone(),
            edges: Group::default(),
            backends: Group::default(),
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

    /// Waits until every service is ready. Then their output so far is dropped, except for warnings
    /// and the lines of services that were restarted. On an error, or with `RUST_LOG`, all of it is
    /// printed.
    ///
    /// # Errors
    /// [`NotReady`] if a service ends repeatedly, or not all are ready in time.
    pub(crate) async fn wait_until_ready(&self, within: Duration) -> Result<(), NotReady> {
        let waited = tokio::time::timeout(within, self.roster.wait_until_ready()).await;
        let outcome = waited.unwrap_or_else(|_| {
            Err(NotReady::TimedOut {
                services: self.roster.unready(),
                within,
            })
        });
        // Both wait until the lines are printed, so that they come before what the caller prints
        // next.
        match &outcome {
            Ok(()) => self.logs.pass_on(self.roster.restarted()).await,
            Err(error) => self.logs.print_and_silence(error.services()).await,
        }
        outcome
    }

    /// Stops the edges, and then the services that they call.
    pub(crate) async fn stop(self) {
        self.edges.stop().await;
        self.backends.stop().await;
    }
}

impl Group {
    async fn stop(mut self) {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "supervision of a service failed");
            }
        }
    }
}
