//! The sampler, from its start to its shutdown.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use opentelemetry_sdk::Resource;
use spoor_runtime::{
    Api, BindError, CutOff, Health, Listener, ReflectionError, Sockets, bind, by_protocol,
    grpc_fallback, ops_listener, ops_router, with_hints, with_introspection,
};
use spoor_telemetry::{
    control_stream::{Intervals, keep_connected},
    export::{self, ExporterError},
};
use spoor_traces::{Forwarder, JournalError, OTLP_DESCRIPTORS, Recovery};
use tokio::{task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;
use tonic::{service::Routes, transport::Endpoint};

use crate::{
    ControlSettings, Rules, SamplerSettings,
    in_force::{HeldRules, RulesInForce},
    metrics::Metrics,
    readiness::Readiness,
    saved::RulesFile,
    send::{SendCounts, Sender},
    stream::RuleSessions,
};

/// The time that requests in flight have to finish after a shutdown begins. They end when their
/// spans are accepted.
const REQUEST_GRACE: Duration = Duration::from_secs(5);
/// The time to send the last spans at a shutdown. Kubernetes allows 30 s for everything.
const SEND_GRACE: Duration = Duration::from_secs(15);
/// The time that scrapes in progress have at a shutdown.
const OPS_GRACE: Duration = Duration::from_secs(1);

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
    /// The descriptors for reflection are invalid.
    #[error(transparent)]
    Reflection(#[from] ReflectionError),
    /// Requests were still in flight when the grace period ended.
    #[error(transparent)]
    CutOff(#[from] CutOff),
}

/// A sampler that has its ports, its rules and its journal.
pub struct Sampler {
    listener: Sockets,
    ops: Sockets,
    forwarder: Forwarder,
    /// Stops the forwarder once the last request has ended.
    stop_forwarder: CancellationToken,
    sender: Sender,
    stream: Option<RuleSessions>,
    readiness: Readiness,
    metrics: Metrics,
}

impl Sampler {
    /// Binds the ports, loads the rules and the spans of the journal, and starts to decide. Must be
    /// called inside a Tokio runtime.
    ///
    /// # Errors
    /// [`SamplerError`].
    pub fn start(settings: SamplerSettings) -> Result<Self, SamplerError> {
        // First, since a port in use is found at once, and connections may wait in the kernel.
        let listener = bind(settings.listen, "--listen")?;
        let ops = bind(settings.ops_listen, "--ops-listen")?;
        let exporter = export::otlp(&settings.output, &Resource::builder_empty().build())?;
        let mut forwarder = settings.forwarder;
        let journal = forwarder.journal.as_ref();
        let file = journal.map(|journal| RulesFile::in_folder(&journal.folder));
        let saved = file.as_ref().and_then(load);
        let held = saved.as_ref().map(HeldRules::from);
        forwarder.rules = saved.map(|rules| (rules.version, rules.table));
        let stop_forwarder = CancellationToken::new();
        let forwarder = Forwarder::start(forwarder, stop_forwarder.clone())?;
        if file.is_some() {
            log_recovery(forwarder.recovery());
        }
        let rules = Arc::new(RulesInForce::new(forwarder.clone(), file, held));
        let identity = (settings.stack, settings.instance);
        let stream = settings
            .control
            .map(|control| sessions(control, identity, Arc::clone(&rules)))
            .transpose()?;
        let counts = SendCounts::default();
        Ok(Self {
            listener,
            ops,
            stop_forwarder,
            readiness: Readiness::new(Arc::clone(&rules), stream.is_some()),
            metrics: Metrics::new(&forwarder, &counts, rules),
            sender: Sender::new(forwarder.clone(), exporter, counts),
            forwarder,
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
    /// that wait (with a journal that the next start finds, they wait for that instead), and sends
    /// what is left within 15 s.
    ///
    /// # Errors
    /// [`SamplerError::Reflection`], [`SamplerError::CutOff`].
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), SamplerError> {
        let (router, health) = otlp(&self.forwarder).await?;
        let (give_up, stop_stream, stop_ops) = (
            CancellationToken::new(),
            CancellationToken::new(),
            CancellationToken::new(),
        );
        let (metrics, readiness) = (self.metrics, self.readiness.clone());
        let ops = ops_router(move || metrics.text(), move || readiness.check());
        let ops = ops_listener(self.ops, ops).serve(OPS_GRACE, stop_ops.clone());
        let ops = tokio::spawn(ops);
        let stream = self.stream.map(|sessions| {
            let stop = stop_stream.clone();
            tokio::spawn(follow_rules(sessions, stop))
        });
        let sending = tokio::spawn(self.sender.run(give_up.clone()));
        self.readiness.set_serving(true);
        let served = serve(self.listener, router, health, &shutdown, &self.readiness).await;
        // After the last request, whose spans are decided, too.
        self.stop_forwarder.cancel();
        finish_sending(sending, give_up).await;
        self.forwarder.give_up();
        log_unsent(&self.forwarder);
        // After the last decision, which the final report contains.
        stop_stream.cancel();
        if let Some(stream) = stream {
            log_panic(stream.await);
        }
        stop_ops.cancel();
        log_panic(ops.await);
        Ok(served?)
    }
}

/// The saved rules. Without them, every trace is kept until the control plane sends some, so that a
/// damaged file loses no span.
fn load(file: &RulesFile) -> Option<Rules> {
    let path = file.path().display();
    match file.load() {
        Ok(rules) => rules,
        Err(error) => {
            tracing::warn!(%error, %path, "cannot load the saved tail rules; keeping every trace");
            None
        }
    }
}

fn log_recovery(recovery: Recovery) {
    tracing::info!(
        requests = recovery.requests,
        decisions = recovery.decisions,
        traces_waiting = recovery.traces_waiting,
        resent = recovery.resent,
        corrupt_files = recovery.corrupt_files,
        skipped_records = recovery.skipped_records,
        "journal read"
    );
}

fn sessions(
    control: ControlSettings,
    (stack, instance): (String, String),
    rules: Arc<RulesInForce>,
) -> Result<RuleSessions, SamplerError> {
    Ok(RuleSessions {
        endpoint: Endpoint::new(control.endpoint).map_err(SamplerError::ControlEndpoint)?,
        credentials: control.credentials,
        intervals: Intervals::default(),
        stack,
        instance,
        start: uuid::Uuid::new_v4().to_string(),
        rules,
    })
}

async fn follow_rules(mut sessions: RuleSessions, stop: CancellationToken) {
    let intervals = sessions.intervals;
    keep_connected(&mut sessions, intervals, &stop).await;
}

/// OTLP over gRPC and HTTP, with gRPC health and reflection.
async fn otlp(forwarder: &Forwarder) -> Result<(Router, Health), ReflectionError> {
    const SERVICE: &str = "opentelemetry.proto.collector.trace.v1.TraceService";
    let routes = Routes::from(forwarder.otlp_grpc());
    let (routes, health) = with_introspection(routes, &[SERVICE], OTLP_DESCRIPTORS).await?;
    let grpc = grpc_fallback(
        routes.into_axum_router(),
        "this port serves OTLP's TraceService",
    );
    let router = by_protocol(forwarder.otlp_http(), grpc);
    Ok((with_hints(router, hint), health))
}

/// The hint for requests of other APIs.
fn hint(api: Api) -> Option<String> {
    match api {
        Api::OtlpTraces | Api::OtlpMetrics | Api::OtlpOthers => None,
        Api::JaegerQuery | Api::JaegerSampling | Api::Zipkin => {
            Some("a sampler accepts spans over OTLP and forwards them".to_owned())
        }
    }
}

/// Receives until the shutdown, and then until the requests in flight have ended.
async fn serve(
    sockets: Sockets,
    router: Router,
    health: Health,
    shutdown: &CancellationToken,
    readiness: &Readiness,
) -> Result<(), CutOff> {
    // Health reports NOT_SERVING before the listener closes, so that balancers stop sending first.
    let stop_listening = CancellationToken::new();
    let serving = Listener::new(sockets, router).serve(REQUEST_GRACE, stop_listening.clone());
    let stopping = async {
        shutdown.cancelled().await;
        readiness.set_serving(false);
        health.shut_down().await;
        stop_listening.cancel();
    };
    let (served, ()) = tokio::join!(serving, stopping);
    served
}

/// Waits until all spans are sent, or the grace period ends.
async fn finish_sending(mut sending: JoinHandle<()>, give_up: CancellationToken) {
    let ended = match timeout(SEND_GRACE, &mut sending).await {
        Ok(ended) => ended,
        Err(_) => {
            give_up.cancel();
            sending.await
        }
    };
    log_panic(ended);
}

/// Logs what is left at the end of a shutdown.
fn log_unsent(forwarder: &Forwarder) {
    let bytes = forwarder.backlog().bytes;
    let traces_waiting = forwarder.totals().traces_gathering;
    if bytes == 0 && traces_waiting == 0 {
        return;
    }
    if forwarder.decides_at_shutdown() {
        tracing::error!(
            bytes,
            traces_waiting,
            "spans lost, since they could not be sent in time"
        );
    } else {
        tracing::info!(bytes, traces_waiting, "spans are left for the next start");
    }
}

fn log_panic<T>(ended: Result<T, tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a task has panicked");
    }
}
