//! The sampler, from its start to its shutdown.

mod shutdown;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use opentelemetry_sdk::Resource;
use spoor_runtime::{
    BindError, CutOff, Limits, ReflectionError, Sockets, bind, ops_listener, ops_router,
};
use spoor_telemetry::{
    control_stream::{Intervals, keep_connected},
    export::{self, ExporterError},
};
use spoor_traces::{Forwarder, ForwarderSettings, JournalError, PeerSettings, Recovery};
use tokio_util::sync::CancellationToken;
use tonic::transport::Endpoint;

use crate::{
    ControlSettings, SamplerSettings,
    custody::{self, CustodyFolder},
    in_force::{HeldRules, RulesInForce},
    metrics::Metrics,
    otlp,
    peers::{self, Deposits, Peers, PeersTokenError, Token},
    phase::{Phase, Phases},
    port::Port,
    readiness::Readiness,
    rings::RingsFile,
    saved::RulesFile,
    send::{SendCounts, Sender},
    stream::RuleSessions,
};
use shutdown::{decide_custodies, finish_forwarding, finish_sending, log_panic, log_unsent};

/// The time that scrapes in progress have at a shutdown.
const OPS_GRACE: Duration = Duration::from_secs(1);
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
        let peers_listener = settings.peers.as_ref();
        let peers_listener = peers_listener.map(|peers| bind(peers.listen, PEERS_LISTEN));
        let peers_listener = peers_listener.transpose()?;
        let token = settings.peers.as_ref();
        let token = token.map(|peers| Token::load(&peers.token_file));
        let token = token.transpose()?;
        let exporter = export::otlp(&settings.output, &Resource::builder_empty().build())?;
        let mut forwarder = settings.forwarder;
        let journal = forwarder.journal.as_ref();
        let file = journal.map(|journal| RulesFile::in_folder(&journal.folder));
        let rings = journal.map(|journal| RingsFile::in_folder(&journal.folder));
        let saved = file.as_ref().and_then(RulesFile::load_if_valid);
        let held = saved.as_ref().map(HeldRules::from);
        forwarder.rules = saved.map(|rules| (rules.version, rules.table));
        let peers = settings.peers.zip(rings).map(|(peers, file)| {
            let saved = file.load();
            forwarder.peers = Some(PeerSettings {
                own: peers.own,
                // Former rings may have ended while any other sampler was unavailable.
                rings: saved.clone().filter(|_| peers.own == 0),
            });
            (peers, (file, saved))
        });
        let stop_forwarder = CancellationToken::new();
        let stop = stop_forwarder.clone();
        let settings_of_forwarder = forwarder.clone();
        // Only if the folder is deleted with the pod may peers keep its files. If a folder that
        // outlives the pod is empty, they have none.
        let ephemeral = forwarder.journal.as_ref().map(|it| it.folder.clone());
        let ephemeral = ephemeral.filter(|_| forwarder.decides_at_shutdown && peers.is_some());
        if let Some(folder) = &ephemeral {
            custody::remove_incomplete(folder).map_err(|source| JournalError::Open {
                path: folder.clone(),
                source,
            })?;
        }
        let is_journal_open = ephemeral.as_deref().is_none_or(custody::has_journal);
        let forwarder = match is_journal_open {
            true => Forwarder::start(forwarder, stop)?,
            false => Forwarder::start_without_journal(forwarder, stop),
        };
        if file.is_some() && is_journal_open {
            log_recovery(forwarder.recovery());
        }
        let phases = Phases::default();
        let custody = ephemeral.map(|folder| CustodyFolder::new(folder, forwarder.clone()));
        let custody = custody.map(Arc::new);
        let peers = peers.zip(token).map(|((peers, file), token)| {
            Arc::new(Peers::new(
                (peers, token),
                forwarder.clone(),
                file,
                phases.clone(),
                (custody, is_journal_open),
            ))
        });
        let rules = Arc::new(RulesInForce::new(forwarder.clone(), file, held));
        let identity = (settings.stack, settings.instance);
        let in_force = (Arc::clone(&rules), peers.clone());
        let stream = settings
            .control
            .map(|control| sessions(control, identity, in_force))
            .transpose()?;
        let counts = SendCounts::default();
        Ok(Self {
            listen: settings.listen,
            listener,
            ops,
            stop_forwarder,
            readiness: Readiness::new(phases.clone(), Arc::clone(&rules), stream.is_some()),
            metrics: Metrics::new(&forwarder, &counts, Arc::clone(&rules), peers.as_deref()),
            sender: Sender::new(forwarder.clone(), exporter, counts),
            peers: peers_listener.zip(peers),
            phases,
            settings: settings_of_forwarder,
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
        let (peers_port, peers) = match self.peers {
            Some((sockets, peers)) => {
                let router = peers::router(Arc::clone(&peers)).await?;
                let port = Port::new((PEERS_LISTEN, peers.listen()), sockets, router);
                (Some(port.limits(peer_limits())), Some(peers))
            }
            None => (None, None),
        };
        match &peers {
            Some(peers) => peers.update_phase(),
            None => phases.enter(|| Phase::Serving),
        }
        let (give_up, stop_calls, stop_stream, stop_ops) = (
            CancellationToken::new(),
            CancellationToken::new(),
            CancellationToken::new(),
            CancellationToken::new(),
        );
        let (metrics, readiness) = (self.metrics, self.readiness);
        let (settings, rules, sender) = (self.settings, self.rules, self.sender);
        let ops = ops_router(move || metrics.text(), move || readiness.check());
        let ops = ops_listener(self.ops, ops).serve(OPS_GRACE, stop_ops.clone());
        let ops = tokio::spawn(ops);
        let stream = self.stream.map(|sessions| {
            let stop = stop_stream.clone();
            tokio::spawn(follow_rules(sessions, stop))
        });
        let sending = tokio::spawn(sender.clone().run(give_up.clone()));
        let calls = peers.clone();
        let mut calls = calls.map(|peers| tokio::spawn(peers.call_all(stop_calls.clone())));
        let leaving = async {
            let restoring = restore(peers.as_deref(), &settings, &rules);
            let restored = shutdown.run_until_cancelled(restoring).await;
            let restored = restored.unwrap_or(Ok(()));
            if restored.is_ok() {
                shutdown.cancelled().await;
            }
            phases.enter(|| Phase::Leaving);
            restored
        };
        let (served, peers_served, restored) = tokio::join!(
            otlp.serve(&phases, |phase| phase == Phase::Serving),
            serve_peers(peers_port, &phases),
            leaving,
        );
        // The journal is complete once the last request has ended.
        let mut deposits = Deposits::default();
        if let Some(peers) = peers.as_ref().filter(|peers| peers.custody.is_some()) {
            peers.finish_all().await;
            // A call could discard the files that are deposited now.
            stop_calls.cancel();
            if let Some(calls) = calls.take() {
                log_panic(calls.await);
            }
            deposits = peers.deposit_all().await;
        }
        if deposits.has_own {
            self.forwarder.give_up();
            give_up.cancel();
        }
        // After the last request, whose spans are decided, too.
        self.stop_forwarder.cancel();
        tokio::join!(
            finish_sending(sending, give_up),
            finish_forwarding(peers.as_deref().filter(|_| calls.is_some())),
            decide_custodies(deposits.left, &settings, &sender),
        );
        stop_calls.cancel();
        if let Some(calls) = calls {
            log_panic(calls.await);
        }
        self.forwarder.give_up();
        if !deposits.has_own {
            log_unsent(&self.forwarder);
        }
        // After the last decision, which the final report contains.
        stop_stream.cancel();
        if let Some(stream) = stream {
            log_panic(stream.await);
        }
        stop_ops.cancel();
        log_panic(ops.await);
        served.and(peers_served)?;
        Ok(restored?)
    }
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
