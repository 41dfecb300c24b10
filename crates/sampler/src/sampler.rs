//! The sampler, from its start to its shutdown.

mod shutdown;

use std::{io, net::SocketAddr, sync::Arc};

use opentelemetry_sdk::Resource;
use spoor_runtime::{
    BindError, CutOff, Limits, ReflectionError, Sockets, bind, ops_listener, ops_router,
};
use spoor_telemetry::{
    control_stream::{Intervals, keep_connected},
    export::{self, ExporterError},
};
use spoor_traces::{Forwarder, ForwarderSettings, JournalError, PeerSettings, Recovery, Rings};
use tokio_util::sync::CancellationToken;
use tonic::transport::Endpoint;

use crate::{
    ControlSettings, PeersSettings, SamplerSettings,
    custody::{self, CustodyFolder},
    grace::OPS_GRACE,
    in_force::{HeldRules, RulesInForce},
    metrics::Metrics,
    otlp,
    peers::{self, Peers, PeersTokenError, Token},
    phase::{Phase, Phases},
    port::Port,
    readiness::Readiness,
    rings::RingsFile,
    saved::RulesFile,
    send::{SendCounts, Sender},
    senders::senders,
    stream::RuleSessions,
};
use shutdown::{Shutdown, Task};

/// The most connections and requests of peers, of which there are at most 63. Each has one call in
/// progress, besides those that it has stopped waiting for.
const MAX_PEER_REQUESTS: usize = 256;
const PEERS_LISTEN: &str = "--peers-listen";

/// A failure to start or to run a sampler.
#[derive(Debug, thiserror::Error)]
pub enum SamplerError {
    /// An address cannot be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The receiver's settings cannot be used.
    #[error(transparent)]
    Exporter(#[from] ExporterError),
    /// The control plane's address is invalid.
    #[error("SPOOR_CONTROL_ENDPOINT: {0}")]
    ControlEndpoint(#[source] tonic::transport::Error),
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The token for the peers cannot be read.
    #[error(transparent)]
    PeersToken(#[from] PeersTokenError),
    /// The descriptors for reflection are invalid.
    #[error(transparent)]
    Reflection(#[from] ReflectionError),
    /// Requests were still in flight when the grace period ended.
    #[error(transparent)]
    CutOff(#[from] CutOff),
}

/// A sampler that has its ports, its rules and its journal.
pub struct Sampler {
    listen: SocketAddr,
    listener: Sockets,
    ops: Sockets,
    /// The port for the peers, and their state.
    peers: Option<(Sockets, Arc<Peers>)>,
    phases: Phases,
    /// The settings of the forwarder, to open its journal later, and the journals of other
    /// samplers.
    settings: ForwarderSettings,
    forwarder: Forwarder,
    /// Stops the forwarder once the last request has ended.
    stop_forwarder: CancellationToken,
    sender: Sender,
    rules: Arc<RulesInForce>,
    stream: Option<RuleSessions>,
    readiness: Readiness,
    metrics: Metrics,
}

impl Sampler {
    /// Binds the ports, loads the rules and the spans of the journal, and starts to decide. If the
    /// journal may be with a peer, [`Sampler::run`] loads it. Must be called inside a Tokio runtime.
    ///
    /// # Errors
    /// [`SamplerError`].
    pub fn start(settings: SamplerSettings) -> Result<Self, SamplerError> {
        // First, since a port in use is found at once, and connections may wait in the kernel.
        let listener = bind(settings.listen, "--listen")?;
        let ops = bind(settings.ops_listen, "--ops-listen")?;
        let peers_port = settings.peers.as_ref().map(bind_peers).transpose()?;
        let exporter = export::otlp(&settings.output, &Resource::builder_empty().build())?;
        let mut of_forwarder = settings.forwarder;
        let (rules_file, held) = load_rules(&mut of_forwarder);
        let rings = settings.peers.as_ref();
        let rings = rings.and_then(|peers| load_rings(peers.own, &mut of_forwarder));
        let Opened {
            forwarder,
            stop_forwarder,
            custody,
            is_journal_open,
        } = open(of_forwarder.clone())?;
        let phases = Phases::default();
        let peers = match (settings.peers, peers_port, rings) {
            (Some(settings), Some((sockets, token)), Some(file)) => {
                let peers = Peers::new(
                    (settings, token),
                    forwarder.clone(),
                    file,
                    phases.clone(),
                    (custody, is_journal_open),
                );
                Some((sockets, Arc::new(peers)))
            }
            _ => None,
        };
        let rules = Arc::new(RulesInForce::new(forwarder.clone(), rules_file, held));
        let shared_peers = peers.as_ref().map(|(_, peers)| Arc::clone(peers));
        let identity = (settings.stack, settings.instance);
        let in_force = (Arc::clone(&rules), shared_peers.clone());
        let stream = settings
            .control
            .map(|control| sessions(control, identity, in_force))
            .transpose()?;
        let counts = SendCounts::default();
        let of_rules = Arc::clone(&rules);
        Ok(Self {
            listen: settings.listen,
            listener,
            ops,
            stop_forwarder,
            readiness: Readiness::new(phases.clone(), Arc::clone(&rules), stream.is_some()),
            metrics: Metrics::new(&forwarder, &counts, of_rules, shared_peers.as_deref()),
            sender: Sender::new(forwarder.clone(), exporter, counts),
            peers,
            phases,
            settings: of_forwarder,
            forwarder,
            rules,
            stream,
        })
    }

    /// The address on which it receives spans.
    ///
    /// # Errors
    /// An error of the operating system.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The address of its metrics and health.
    ///
    /// # Errors
    /// An error of the operating system.
    pub fn ops_address(&self) -> io::Result<SocketAddr> {
        self.ops.local_addr()
    }

    /// Receives, decides and sends until `shutdown`. Then it stops receiving, decides on the traces
    /// that wait, and sends what is left within 15 s. With a journal that the next start finds, or
    /// that a peer keeps for it, these traces wait for the next start instead.
    ///
    /// # Errors
    /// [`SamplerError::Reflection`], [`SamplerError::CutOff`], and [`SamplerError::Journal`] if the
    /// journal is loaded here.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), SamplerError> {
        let (phases, listen) = (self.phases, ("--listen", self.listen));
        let otlp = Port::new(listen, self.listener, otlp::router(&self.forwarder).await?);
        let otlp = otlp.clients(senders(&self.forwarder));
        let (peers_port, peers) = match self.peers {
            Some((sockets, peers)) => (Some(peers_port(sockets, &peers).await?), Some(peers)),
            None => (None, None),
        };
        match &peers {
            Some(peers) => peers.update_phase(),
            None => phases.enter(|| Phase::Serving),
        }
        let (metrics, readiness) = (self.metrics, self.readiness);
        let ops = ops_router(move || metrics.text(), move || readiness.check());
        let ops = ops_listener(self.ops, ops);
        let (sender, stream, callers) = (self.sender.clone(), self.stream, peers.clone());
        let (settings, rules) = (self.settings, self.rules);
        let shutting_down = Shutdown {
            ops: Task::spawn(|stop| ops.serve(OPS_GRACE, stop)),
            stream: stream.map(|sessions| Task::spawn(|stop| follow_rules(sessions, stop))),
            sending: Task::spawn(|stop| sender.run(stop)),
            calls: callers.map(|peers| Task::spawn(|stop| peers.call_all(stop))),
            forwarder: self.forwarder,
            stop_forwarder: self.stop_forwarder,
            sender: self.sender,
            peers: peers.clone(),
            settings: settings.clone(),
        };
        let restoring = restore(peers.as_deref(), &settings, &rules);
        let (served, peers_served, restored) = tokio::join!(
            otlp.serve(&phases, |phase| phase == Phase::Serving),
            serve_peers(peers_port, &phases),
            leave(restoring, &phases, &shutdown),
        );
        // The journal is complete once the last request has ended.
        shutting_down.run().await;
        served.and(peers_served)?;
        Ok(restored?)
    }
}

/// Binds the port for the peers, and reads the token for their calls.
fn bind_peers(settings: &PeersSettings) -> Result<(Sockets, Token), SamplerError> {
    let sockets = bind(settings.listen, PEERS_LISTEN)?;
    Ok((sockets, Token::load(&settings.token_file)?))
}

/// Loads the saved rules, by which the forwarder decides from its start.
fn load_rules(settings: &mut ForwarderSettings) -> (Option<RulesFile>, Option<HeldRules>) {
    let journal = settings.journal.as_ref();
    let file = journal.map(|journal| RulesFile::in_folder(&journal.folder));
    let saved = file.as_ref().and_then(RulesFile::load_if_valid);
    let held = saved.as_ref().map(HeldRules::from);
    settings.rules = saved.map(|rules| (rules.version, rules.table));
    (file, held)
}

/// Loads the saved rings of a sampler with this ordinal. `None` without a journal, which peers
/// require.
fn load_rings(own: u16, settings: &mut ForwarderSettings) -> Option<(RingsFile, Option<Rings>)> {
    let file = RingsFile::in_folder(&settings.journal.as_ref()?.folder);
    let saved = file.load();
    settings.peers = Some(PeerSettings {
        own,
        // Former rings may have ended while any other sampler was unavailable.
        rings: saved.clone().filter(|_| own == 0),
    });
    Some((file, saved))
}

/// A forwarder that has started.
struct Opened {
    forwarder: Forwarder,
    /// Stops the forwarder once the last request has ended.
    stop_forwarder: CancellationToken,
    /// The custodies for other samplers, if the journal's folder ends with the pod.
    custody: Option<Arc<CustodyFolder>>,
    is_journal_open: bool,
}

/// Starts the forwarder, without its journal if a peer may have the files.
fn open(settings: ForwarderSettings) -> Result<Opened, JournalError> {
    let stop_forwarder = CancellationToken::new();
    let folder = settings.journal.as_ref();
    let folder = folder.map(|journal| journal.folder.clone());
    let has_journal = folder.is_some();
    // Only if the folder is deleted with the pod may peers keep its files. If a folder that outlives
    // the pod is empty, they have none.
    let ephemeral = folder.filter(|_| settings.decides_at_shutdown && settings.peers.is_some());
    if let Some(folder) = &ephemeral {
        custody::remove_incomplete(folder).map_err(|source| JournalError::Open {
            path: folder.clone(),
            source,
        })?;
    }
    let is_journal_open = ephemeral.as_deref().is_none_or(custody::has_journal);
    let stop = stop_forwarder.clone();
    let forwarder = match is_journal_open {
        true => Forwarder::start(settings, stop)?,
        false => Forwarder::start_without_journal(settings, stop),
    };
    if has_journal && is_journal_open {
        log_recovery(forwarder.recovery());
    }
    let custody = ephemeral.map(|folder| CustodyFolder::new(folder, forwarder.clone()));
    Ok(Opened {
        forwarder,
        stop_forwarder,
        custody: custody.map(Arc::new),
        is_journal_open,
    })
}

async fn peers_port(sockets: Sockets, peers: &Arc<Peers>) -> Result<Port, ReflectionError> {
    let router = peers::router(Arc::clone(peers)).await?;
    let port = Port::new((PEERS_LISTEN, peers.listen()), sockets, router);
    Ok(port.limits(peer_limits()))
}

fn peer_limits() -> Limits {
    Limits {
        max_connections: MAX_PEER_REQUESTS,
        max_requests: MAX_PEER_REQUESTS,
        ..Limits::default()
    }
}

/// Serves the calls of peers until the sampler leaves.
async fn serve_peers(port: Option<Port>, phases: &Phases) -> Result<(), CutOff> {
    match port {
        Some(port) => port.serve(phases, |phase| phase != Phase::Leaving).await,
        None => Ok(()),
    }
}

/// Restores the journal, and then waits for the shutdown. If the journal cannot be opened, the
/// sampler leaves at once.
async fn leave(
    restoring: impl Future<Output = Result<(), JournalError>>,
    phases: &Phases,
    shutdown: &CancellationToken,
) -> Result<(), JournalError> {
    let restored = shutdown.run_until_cancelled(restoring).await;
    let restored = restored.unwrap_or(Ok(()));
    if restored.is_ok() {
        shutdown.cancelled().await;
    }
    phases.enter(|| Phase::Leaving);
    restored
}

/// Opens the journal if it is not open, with the files that a peer may keep.
async fn restore(
    peers: Option<&Peers>,
    settings: &ForwarderSettings,
    rules: &RulesInForce,
) -> Result<(), JournalError> {
    match peers {
        Some(peers) => peers.restore(settings, rules).await,
        None => Ok(()),
    }
}

pub(crate) fn log_recovery(recovery: Recovery) {
    tracing::info!(
        requests = recovery.requests,
        decisions = recovery.decisions,
        traces_waiting = recovery.traces_waiting,
        parts_waiting = recovery.parts_waiting,
        resent = recovery.resent,
        corrupt_files = recovery.corrupt_files,
        skipped_records = recovery.skipped_records,
        "journal read"
    );
}

fn sessions(
    control: ControlSettings,
    (stack, instance): (String, String),
    (rules, peers): (Arc<RulesInForce>, Option<Arc<Peers>>),
) -> Result<RuleSessions, SamplerError> {
    Ok(RuleSessions {
        endpoint: Endpoint::new(control.endpoint).map_err(SamplerError::ControlEndpoint)?,
        credentials: control.credentials,
        intervals: Intervals::default(),
        stack,
        instance,
        start: uuid::Uuid::new_v4().to_string(),
        rules,
        peers,
    })
}

async fn follow_rules(mut sessions: RuleSessions, stop: CancellationToken) {
    let intervals = sessions.intervals;
    keep_connected(&mut sessions, intervals, &stop).await;
}
