//! The role `policies`: sampling policies are resolved, served at the doors, and told in their
//! status what became of them.
//!
//! Six steps, each in a file of its name: dereference, preprocess, validate, build, apply, status.
//! Only the leader takes them; a standby keeps its watches warm, and its doors closed. A leader
//! that can't reach the API server goes on serving what it has.

mod apply;
mod build;
mod certificate;
mod clients;
mod dereference;
mod doors;
mod identity;
mod lead;
mod metrics;
mod mislabelled;
mod pods;
mod preprocess;
mod settings;
mod status;
mod tokens;
mod validate;

use std::{net::SocketAddr, sync::Arc};

use kube::Client;
use prometheus_client::registry::Registry;
use spoor_control::Control;
use spoor_runtime::{BindError, Listener, ReflectionError};
use tokio::{sync::watch, task::JoinHandle};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use certificate::CertificateError;
pub use doors::Doors;
pub use settings::{Arguments, Listen, Settings};
pub use tokens::AUDIENCE;

use crate::{
    kubernetes::{apply::Applier, events::Events, watch::Watches},
    lease::{self, Claimer, Claims, Leadership},
    ops,
};
use certificate::Certificate;
use dereference::Sources;
use identity::Pods;
use lead::Leader;
use metrics::Metrics;
use pods::ByAddress;
use status::Statuses;
use tokens::Tokens;

/// The field manager of statuses, and who tells events.
const MANAGER: &str = "spoor-policies";

/// Why the role ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A port can't be listened at.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A port has no address.
    #[error("read a port's address")]
    Address(#[from] std::io::Error),
    /// The descriptors that gRPC reflection would show.
    #[error(transparent)]
    Reflection(#[from] ReflectionError),
    /// TLS can't be set up.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
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
    doors: watch::Receiver<Option<Doors>>,
    ended: JoinHandle<Result<(), Error>>,
}

impl Running {
    /// Where `/metrics`, `/healthz` and `/readyz` are.
    #[must_use]
    pub fn ops(&self) -> SocketAddr {
        self.ops
    }

    /// Where the doors are, once they are open: when this replica leads and has published.
    #[must_use]
    pub fn doors(&self) -> watch::Receiver<Option<Doors>> {
        self.doors.clone()
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
/// The port for operators can't be had, or TLS not be set up.
pub async fn start(
    client: Client,
    settings: Settings,
    stop: CancellationToken,
) -> Result<Running, Error> {
    let sockets = spoor_runtime::bind(settings.role.ops, "--ops-listen")?;
    let ops = sockets.local_addr()?;
    // The role also ends by itself.
    let stop = stop.child_token();
    let (opened, doors) = watch::channel(None);
    let certificate = Certificate::new();
    let acceptor = certificate.acceptor()?;
    let mut registry = Registry::default();
    let replica = Replica::new(client, settings, certificate, &mut registry, stop);
    let listener = ops::listener(sockets, registry, replica.readiness(doors.clone()));
    let ended = tokio::spawn(replica.run(listener, acceptor, opened));
    Ok(Running { ops, doors, ended })
}

/// One replica, leading or not.
struct Replica {
    settings: Settings,
    leader: Arc<Leader>,
    certificate: Certificate,
    applier: Arc<Applier>,
    events: Arc<Events>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Replica {
    /// Starts all that leader and standby have in common.
    fn new(
        client: Client,
        settings: Settings,
        certificate: Certificate,
        registry: &mut Registry,
        stop: CancellationToken,
    ) -> Self {
        let tasks = TaskTracker::new();
        let watches = Watches::new(stop.clone());
        watches.register(registry);
        let role = &settings.role;
        let sources = Sources::follow(&client, &watches, &role.scope);
        let claims = Claims::new(role.installation_identity(), watches.clone());
        claims.register(registry);
        let claimer = Claimer::new(client.clone(), claims.clone(), role.claim_timing);
        let tokens = Arc::new(Tokens::new(client.clone()));
        tokens.register(registry);
        let control = Control::new(spoor_control::Settings {
            identify: Arc::new(Pods {
                by_name: sources.pods.clone(),
                by_address: ByAddress::new(sources.pods.clone(), watches.changed()),
                tokens,
                mislabelled: sources.mislabelled.clone(),
            }),
            shutdown: stop.clone(),
            ..settings.control.clone()
        });
        control.register(registry);
        let applier = Arc::new(Applier::new(client.clone(), MANAGER));
        applier.register(registry);
        let pod = settings.role.pod.clone();
        let (events, telling) = Events::new(client.clone(), MANAGER, pod, stop.clone());
        tasks.spawn(telling);
        let events = Arc::new(events);
        let (leadership, election) = lease::stand(client, settings.role.candidate(), stop.clone());
        tasks.spawn(election);
        let claiming = {
            let (sources, scope) = (sources.clone(), settings.role.scope.clone());
            let (watches, leadership) = (watches.clone(), leadership.clone());
            async move {
                watches.complete().await;
                claimer.run(|| sources.wanted(&scope), leadership).await;
            }
        };
        let stopped = stop.clone();
        tasks.spawn(async move {
            stopped.run_until_cancelled(claiming).await;
        });
        let files = (settings.certificate.clone(), settings.key.clone());
        tasks.spawn(certificate.clone().follow(files.0, files.1, stop.clone()));
        let metrics = Metrics::register(registry);
        let leader = Leader::new(
            sources,
            watches,
            control,
            metrics,
            leadership,
            claims,
            events.clone(),
        );
        Self {
            settings,
            leader: Arc::new(leader),
            certificate,
            applier,
            events,
            tasks,
            stop,
        }
    }

    fn readiness(&self, doors: watch::Receiver<Option<Doors>>) -> ops::Readiness {
        let leadership = self.leader.leadership.clone();
        let watches = self.leader.watches.clone();
        let certificate = self.certificate.clone();
        let claims = self.leader.claims.clone();
        Arc::new(move || {
            let problem = if let Some(missing) = watches.missing() {
                missing
            } else if !leadership.borrow().is_leader() {
                "is a standby".to_owned()
            } else if !leadership.borrow().is_certain() {
                "can't renew its lease".to_owned()
            } else if let Some(refusal) = claims.refusal() {
                refusal
            } else if !certificate.is_there() {
                "waits for the certificate of the stream's door".to_owned()
            } else if doors.borrow().is_none() {
                "has not published yet".to_owned()
            } else {
                return Ok(());
            };
            Err(problem)
        })
    }

    async fn run(
        self,
        ops: Listener,
        acceptor: TlsAcceptor,
        opened: watch::Sender<Option<Doors>>,
    ) -> Result<(), Error> {
        let ops = tokio::spawn(ops.serve(doors::GRACE, self.stop.clone()));
        let result = tokio::select! {
            result = self.serve(acceptor, &opened) => result,
            by = lease::deposed(self.leader.leadership.clone()) => Err(Error::Deposed { by }),
            () = self.stop.cancelled() => Ok(()),
        };
        self.stop.cancel();
        opened.send_replace(None);
        self.tasks.close();
        self.tasks.wait().await;
        self.leader.watches.ended().await;
        if let Err(cut_off) = ops.await? {
            tracing::debug!(%cut_off, "the listener for operators ended");
        }
        result
    }

    /// Waits until this replica leads and knows all there is; from then on it leads, for ever.
    async fn serve(
        &self,
        acceptor: TlsAcceptor,
        opened: &watch::Sender<Option<Doors>>,
    ) -> Result<(), Error> {
        let leader = &*self.leader;
        let mut leadership = leader.leadership.clone();
        if leadership.wait_for(Leadership::is_leader).await.is_err() {
            return Ok(());
        }
        leader.watches.complete().await;
        // What is published first must not lack the policies of a namespace that is about to be
        // claimed: clients that come back would fall to their default.
        leader.claims.settled().await;
        let expiry = leader.resolve();
        let listen = &self.settings.listen;
        let doors = doors::open(&leader.control, listen, acceptor, &self.tasks, &self.stop).await?;
        opened.send_replace(Some(doors));
        leader.metrics.leader.set(1);
        let (applier, events) = (self.applier.clone(), self.events.clone());
        let claims = leader.claims.clone();
        let statuses = Statuses::new(applier, events, claims, self.settings.observe);
        tokio::join!(leader.keep_resolving(expiry), leader.keep_writing(statuses));
        Ok(())
    }
}
