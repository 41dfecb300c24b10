//! The role `stacks`: a `TracingStack` becomes Jaeger and the Collector.
//!
//! Six steps, each in a file of its name: dereference, preprocess, validate, build, apply, status.
//! Only the leader takes them. Beside them it keeps the certificate of the policies' doors.

mod apply;
pub mod build;
mod certificates;
mod children;
pub mod collector;
mod dereference;
mod gather_losses;
mod lead;
mod metrics;
mod pod_failure;
mod preprocess;
mod readings;
mod reconcile;
mod route;
mod settings;
mod status;
mod validate;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use kube::Client;
use prometheus_client::registry::Registry;
use spoor_runtime::{BindError, Listener};
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    certificates::Keeper, dereference::Cluster, gather_losses::GatherLosses, lead::Leader,
    metrics::Metrics, readings::Readings, reconcile::Reconciler,
};
pub use self::{
    certificates::{AUTHORITY, DOORS, Lives},
    settings::{Arguments, Settings},
};
use crate::{
    kubernetes::{
        apply::Applier,
        events::Events,
        watch::{Scope, Watches},
    },
    lease::{self, Claimer, Claims, Leadership},
    ops,
};

/// The field manager of all that the role writes, and who tells events.
const MANAGER: &str = "spoor-stacks";
/// For answers that are under way when the role ends.
const GRACE: Duration = Duration::from_secs(2);

/// Why the role ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A port can't be listened at.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A port has no address.
    #[error("read a port's address")]
    Address(#[from] std::io::Error),
    /// Collectors can't be asked how they are.
    #[error("can't make an HTTP client")]
    Client(#[from] reqwest::Error),
    /// Another replica leads, so that this one has to begin anew.
    #[error("{by} leads now: this replica begins anew")]
    Deposed {
        /// The identity of the other.
        by: String,
    },
    /// One of its tasks panicked.
    #[error("a task ended that should not have")]
    Broken(#[from] tokio::task::JoinError),
}

/// The role while it runs. It ends when its token is cancelled.
#[derive(Debug)]
pub struct Running {
    ops: SocketAddr,
    ended: JoinHandle<Result<(), Error>>,
}

impl Running {
    /// Where `/metrics`, `/healthz` and `/readyz` are.
    #[must_use]
    pub fn ops(&self) -> SocketAddr {
        self.ops
    }

    /// Waits for the role's end.
    ///
    /// # Errors
    /// Why it ended, if nobody asked it to.
    pub async fn finished(self) -> Result<(), Error> {
        self.ended.await?
    }
}

/// Runs the role until `stop`.
///
/// # Errors
/// Why it can't go on.
pub async fn run(client: Client, settings: Settings, stop: CancellationToken) -> Result<(), Error> {
    start(client, settings, stop).await?.finished().await
}

/// Starts the role, which runs until `stop`.
///
/// # Errors
/// The port for operators can't be had, or no HTTP client.
pub async fn start(
    client: Client,
    settings: Settings,
    stop: CancellationToken,
) -> Result<Running, Error> {
    let sockets = spoor_runtime::bind(settings.role.ops, "--ops-listen")?;
    let ops = sockets.local_addr()?;
    // The role also ends by itself.
    let stop = stop.child_token();
    let mut registry = Registry::default();
    let replica = Replica::new(client, settings, &mut registry, stop)?;
    let listener = ops::listener(sockets, registry, replica.readiness());
    let ended = tokio::spawn(replica.run(listener));
    Ok(Running { ops, ended })
}

/// One replica, leading or not.
struct Replica {
    leader: Leader,
    claims: Claims,
    claimer: Claimer,
    scope: Scope,
    keeper: Keeper,
    watches: Watches,
    leadership: watch::Receiver<Leadership>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Replica {
    fn new(
        client: Client,
        settings: Settings,
        registry: &mut Registry,
        stop: CancellationToken,
    ) -> Result<Self, Error> {
        let tasks = TaskTracker::new();
        let role = &settings.role;
        let watches = Watches::new(stop.clone());
        watches.register(registry);
        let cluster = Cluster::watch(&watches, &client, &role.scope);
        let claims = Claims::new(role.installation_identity(), watches.clone());
        claims.register(registry);
        let claimer = Claimer::new(client.clone(), claims.clone(), role.claim_timing);
        let scope = role.scope.clone();
        let applier = Applier::new(client.clone(), MANAGER);
        applier.register(registry);
        let (events, telling) =
            Events::new(client.clone(), MANAGER, role.pod.clone(), stop.clone());
        tasks.spawn(telling);
        let names = settings.doors.names(&settings.cluster_domain);
        let keeper = Keeper::new(client.clone(), &role.namespace, names, settings.lives);
        let (leadership, election) = lease::stand(client, role.candidate(), stop.clone());
        tasks.spawn(election);
        let leader = Leader {
            reconciler: Arc::new(Reconciler {
                cluster,
                applier,
                events,
                readings: Readings::new()?,
                losses: gather_losses(registry),
                claims: claims.clone(),
            }),
            changed: watches.changed(),
            trust: keeper.trust(),
            leadership: leadership.clone(),
            doors: settings.doors,
            cluster_domain: settings.cluster_domain,
            pods: settings.pods,
            metrics: Metrics::register(registry),
        };
        Ok(Self {
            leader,
            claims,
            claimer,
            scope,
            keeper,
            watches,
            leadership,
            tasks,
            stop,
        })
    }

    /// A standby has nothing to serve, so it is as ready as the leader.
    fn readiness(&self) -> ops::Readiness {
        let (watches, leadership) = (self.watches.clone(), self.leadership.clone());
        let (claims, trust) = (self.claims.clone(), self.keeper.trust());
        Arc::new(move || {
            let leads = leadership.borrow();
            if let Some(missing) = watches.missing() {
                Err(missing)
            } else if leads.is_leader() && !leads.is_certain() {
                Err("can't renew its lease".to_owned())
            } else if let Some(refusal) = claims.refusal() {
                Err(refusal)
            } else if let Some(problem) = &trust.borrow().problem {
                Err(format!(
                    "the doors' certificate cannot be kept valid: {problem}"
                ))
            } else {
                Ok(())
            }
        })
    }

    async fn run(self, ops: Listener) -> Result<(), Error> {
        let ops = tokio::spawn(ops.serve(GRACE, self.stop.clone()));
        let lead = lead(
            self.leader,
            self.keeper,
            (self.claimer, self.scope),
            self.leadership.clone(),
            &self.watches,
        );
        let result = tokio::select! {
            () = lead => Ok(()),
            by = lease::deposed(self.leadership.clone()) => Err(Error::Deposed { by }),
            () = self.stop.cancelled() => Ok(()),
        };
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.watches.ended().await;
        if let Err(cut_off) = ops.await? {
            tracing::debug!(%cut_off, "the listener for operators ended");
        }
        result
    }
}

fn gather_losses(registry: &mut Registry) -> GatherLosses {
    let losses = GatherLosses::default();
    losses.register(registry);
    losses
}

/// Waits until this replica leads and knows all there is; from then on it leads, for ever.
async fn lead(
    leader: Leader,
    keeper: Keeper,
    (claimer, scope): (Claimer, Scope),
    mut leadership: watch::Receiver<Leadership>,
    watches: &Watches,
) {
    if leadership.wait_for(Leadership::is_leader).await.is_err() {
        return;
    }
    watches.complete().await;
    let reconciler = leader.reconciler.clone();
    let wanted = || reconciler.cluster.namespaces(&scope);
    tokio::join!(
        claimer.run(wanted, leadership.clone()),
        reconciler.watch_losses(watches),
        keeper.run(leadership),
        leader.run()
    );
}
