//! The lifecycle that both roles share: watches, leader election, claims, the ops port and
//! a graceful shutdown.

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc, time::Duration};

use kube::Client;
use prometheus_client::{encoding::text::encode, metrics::gauge::Gauge, registry::Registry};
use spoor_runtime::{
    BindError, CertificateError, ReflectionError, Sockets, ops_listener, ops_router,
};
use tokio::{
    sync::watch,
    task::{JoinError, JoinHandle},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    kubernetes::{apply::Applier, events::EventQueue, watch::Watches},
    lease::{self, Candidate, Claimer, Leadership, NamespaceClaims},
    settings::RoleSettings,
};

/// The time that responses of the ops port have to complete when the role ends.
const OPS_GRACE: Duration = Duration::from_secs(2);
/// The prefix of the names of the operator's own metrics.
const METRIC_PREFIX: &str = "spoor_operator";

/// The reason why a role ended or could not start.
#[derive(Debug, thiserror::Error)]
pub enum RoleError {
    /// A port cannot be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A bound port has no address.
    #[error("cannot read the address of a bound port")]
    Address(#[from] std::io::Error),
    /// The descriptors that gRPC reflection serves cannot be read.
    #[error(transparent)]
    Reflection(#[from] ReflectionError),
    /// TLS cannot be set up.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// Another replica became the leader. The process has to restart to be a standby.
    #[error("lost leadership to {to}; restarting")]
    LeadershipLost {
        /// The identity of the new leader.
        to: String,
    },
    /// A task panicked.
    #[error("a task ended unexpectedly")]
    TaskPanicked(#[from] JoinError),
}

/// A running role. It ends when its token is cancelled.
#[derive(Debug)]
pub struct RunningRole {
    /// The address of `/metrics`, `/healthz` and `/readyz`.
    pub ops: SocketAddr,
    ended: JoinHandle<Result<(), RoleError>>,
}

impl RunningRole {
    /// Waits for the end of the role.
    ///
    /// # Errors
    /// The reason, if the role ended before it was stopped.
    pub async fn finished(self) -> Result<(), RoleError> {
        self.ended.await?
    }
}

/// A check that returns the reason why a role is not ready, if it is not.
pub(crate) type RoleReadiness = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// One replica of a role, leader or standby.
pub(crate) struct Replica {
    pub(crate) watches: Watches,
    pub(crate) claims: NamespaceClaims,
    pub(crate) applier: Arc<Applier>,
    pub(crate) events: Arc<EventQueue>,
    pub(crate) leadership: watch::Receiver<Leadership>,
    pub(crate) registry: Registry,
    /// Tasks that the role waits for when it ends.
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
    leader: Gauge,
    claimer: Claimer,
    ops_sockets: Sockets,
}

impl Replica {
    /// Binds the ops port and starts the leader election. `field_manager` owns all that the
    /// role applies and is the reporter of its events.
    ///
    /// # Errors
    /// [`RoleError::Bind`] for the ops port.
    pub(crate) fn new(
        client: &Client,
        settings: &RoleSettings,
        field_manager: &'static str,
        stop: &CancellationToken,
    ) -> Result<Self, RoleError> {
        let ops_sockets = spoor_runtime::bind(settings.ops, "--ops-listen")?;
        // A child token, since the role also ends when it loses its leadership.
        let stop = stop.child_token();
        let tasks = TaskTracker::new();
        let mut registry = Registry::default();
        let metrics = registry.sub_registry_with_prefix(METRIC_PREFIX);
        let leader: Gauge = Gauge::default();
        metrics.register("leader", "1 if this replica is the leader", leader.clone());
        let watches = Watches::new(client.clone(), settings.scope.clone(), stop.clone());
        watches.register(metrics);
        // The installation's identity in claims and messages.
        let installation = format!("{}/{}", settings.namespace, settings.installation);
        let claims = NamespaceClaims::new(installation, watches.clone());
        claims.register(metrics);
        let claimer = Claimer::new(client.clone(), claims.clone(), settings.claim_timing);
        let applier = Applier::new(client.clone(), field_manager);
        applier.register(metrics);
        let pod = settings.pod.clone();
        let (events, publishing) =
            EventQueue::new(client.clone(), field_manager, pod, stop.clone());
        tasks.spawn(publishing);
        let candidate = Candidate {
            namespace: settings.namespace.clone(),
            name: settings.lease.clone(),
            identity: settings.identity.clone(),
            timing: settings.timing,
        };
        let (leadership, election) = lease::campaign(client.clone(), candidate, stop.clone());
        tasks.spawn(election);
        Ok(Self {
            watches,
            claims,
            applier: Arc::new(applier),
            events: Arc::new(events),
            leadership,
            registry,
            tasks,
            stop,
            leader,
            claimer,
            ops_sockets,
        })
    }

    /// The registry of the operator's own metrics, which adds their prefix.
    pub(crate) fn metrics(&mut self) -> &mut Registry {
        self.registry.sub_registry_with_prefix(METRIC_PREFIX)
    }

    /// The readiness that both roles have in common, then that of the role itself.
    pub(crate) fn readiness(
        &self,
        role: impl Fn() -> Result<(), String> + Send + Sync + 'static,
    ) -> RoleReadiness {
        let (watches, leadership) = (self.watches.clone(), self.leadership.clone());
        let claims = self.claims.clone();
        Arc::new(move || {
            if let Some(reason) = watches.unsynced_reason() {
                return Err(reason);
            }
            // Cloned, since the election cannot update the value while it is borrowed.
            let leadership = leadership.borrow().clone();
            if leadership.is_leader() && !leadership.is_certain() {
                return Err("this replica cannot renew its lease".to_owned());
            }
            if let Some(refusal) = claims.refusal() {
                return Err(refusal);
            }
            role()
        })
    }

    /// Starts the replica. While it is the leader it claims the `namespaces` and runs `leader_task`,
    /// which begins once all watches have synced. A leader never becomes a standby again: what it
    /// holds in memory may be outdated by then, so the process ends and the kubelet restarts it.
    ///
    /// # Errors
    /// [`RoleError::Address`].
    pub(crate) fn spawn(
        self,
        readiness: RoleReadiness,
        namespaces: impl Fn() -> BTreeSet<String> + Send + 'static,
        leader_task: impl Future<Output = Result<(), RoleError>> + Send + 'static,
    ) -> Result<RunningRole, RoleError> {
        let ops = self.ops_sockets.local_addr()?;
        let ended = tokio::spawn(self.run(readiness, namespaces, leader_task));
        Ok(RunningRole { ops, ended })
    }

    async fn run(
        self,
        readiness: RoleReadiness,
        namespaces: impl Fn() -> BTreeSet<String>,
        leader_task: impl Future<Output = Result<(), RoleError>>,
    ) -> Result<(), RoleError> {
        let registry = Arc::new(self.registry);
        let metrics = move || {
            let mut text = String::new();
            encode(&mut text, &registry).map(|()| text)
        };
        let ops_router = ops_router(metrics, move || readiness());
        let ops = ops_listener(self.ops_sockets, ops_router);
        let ops = tokio::spawn(ops.serve(OPS_GRACE, self.stop.clone()));
        let leadership = self.leadership;
        let leading = async {
            wait_until_leading(leadership.clone(), &self.watches).await;
            self.leader.set(1);
            let claiming = async {
                self.claimer.run(namespaces, leadership.clone()).await;
                Ok(())
            };
            match tokio::try_join!(claiming, leader_task) {
                // They return when the election has ended, and the role ends with it below.
                Ok(_) => std::future::pending().await,
                Err(error) => error,
            }
        };
        let result = tokio::select! {
            error = leading => Err(error),
            to = lease::lost_leadership(leadership.clone()) => {
                Err(RoleError::LeadershipLost { to })
            }
            () = self.stop.cancelled() => Ok(()),
        };
        self.stop.cancel();
        // The election is one of these tasks: it releases the Lease, so that a standby can take
        // over immediately.
        self.tasks.close();
        self.tasks.wait().await;
        self.watches.wait_until_stopped().await;
        if let Err(cut_off) = ops.await? {
            tracing::debug!(%cut_off, "the ops port closed before all responses were sent");
        }
        result
    }
}

/// Waits until this replica is the leader and its watches have synced.
async fn wait_until_leading(mut leadership: watch::Receiver<Leadership>, watches: &Watches) {
    if leadership.wait_for(Leadership::is_leader).await.is_err() {
        // The election has ended, and with it the role: the caller waits for that, too.
        std::future::pending::<()>().await;
    }
    watches.wait_until_synced().await;
}
