//! A process's telemetry, from its start to its shutdown.

mod events;
mod resource;
mod subscriber;

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use opentelemetry::{InstrumentationScope, trace::TracerProvider};
use opentelemetry_sdk::{
    Resource,
    trace::{SdkTracer, SdkTracerProvider},
};
use opentelemetry_semantic_conventions::SCHEMA_URL;
use parking_lot::Mutex;
use spoor_runtime::{log_warnings, ops_router};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::Endpoint;
use tracing::Subscriber;
use tracing_subscriber::fmt::MakeWriter;

use crate::{
    batch::{BatchProcessor, SpanCounts},
    control_stream::{self, ControlStream, Intervals},
    export::{self, Export, ExporterError},
    faults::Faults,
    grpc, http,
    metrics::Metrics,
    peer::PeerUrl,
    propagation::Propagator,
    sampler::{Live, LiveSampler},
    settings::TelemetrySettings,
    traced::TracedLayer,
};

/// A process's telemetry. Clones share it.
#[derive(Clone, derive_more::Debug)]
#[debug("Telemetry({:?})", inner.settings)]
pub struct Telemetry {
    inner: Arc<Inner>,
}

struct Inner {
    settings: TelemetrySettings,
    provider: Option<SdkTracerProvider>,
    tracer: Option<SdkTracer>,
    counts: Arc<SpanCounts>,
    live: Arc<Live>,
    faults: Arc<Faults>,
    metrics: Metrics,
    is_ready: AtomicBool,
    stop: CancellationToken,
    control: Mutex<Option<JoinHandle<()>>>,
}

/// The outcomes of all spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanOutcomes {
    /// The spans that the receiver accepted.
    pub exported: u64,
    /// The spans that were lost, for any reason.
    pub dropped: u64,
}

/// A failure to start telemetry.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryStartError {
    /// The exporter cannot be created.
    #[error(transparent)]
    Exporter(#[from] ExporterError),
    /// The exporting thread cannot be started.
    #[error("cannot start the exporting thread: {0}")]
    Thread(#[from] io::Error),
    /// The log filter is invalid.
    #[error("RUST_LOG: {0}; must be directives such as \"info\" or \"info,sqlx=warn\"")]
    LogFilter(#[source] tracing_subscriber::filter::ParseError),
    /// The process already has a global `tracing` subscriber.
    #[error("the process already has a global tracing subscriber: {0}")]
    Subscriber(#[from] tracing::subscriber::SetGlobalDefaultError),
    /// Called outside a Tokio runtime.
    #[error("must be started inside a Tokio runtime: {0}")]
    Runtime(#[from] tokio::runtime::TryCurrentError),
    /// The control plane's address is invalid.
    #[error("SPOOR_CONTROL_ENDPOINT: {0}")]
    ControlEndpoint(#[from] tonic::transport::Error),
}

impl Telemetry {
    /// Starts the process's telemetry: logs, spans, the exporter and the control stream. Call it
    /// once, inside a Tokio runtime.
    ///
    /// # Errors
    /// [`TelemetryStartError`].
    pub fn start(settings: TelemetrySettings) -> Result<Self, TelemetryStartError> {
        let telemetry = Self::local(settings)?;
        tracing::subscriber::set_global_default(telemetry.subscriber()?)?;
        opentelemetry::global::set_text_map_propagator(Propagator);
        if let Some(provider) = &telemetry.inner.provider {
            opentelemetry::global::set_tracer_provider(provider.clone());
        }
        // Only after the subscriber is set, since they would be lost before.
        log_warnings(&telemetry.inner.settings.warnings);
        Ok(telemetry)
    }

    /// Like [`Telemetry::start`], but without the process's global state: nothing is logged, and
    /// `tracing`'s spans are not collected unless [`Telemetry::subscriber`] is set as the default.
    /// For several services in one process, as in tests.
    ///
    /// # Errors
    /// As [`Telemetry::start`].
    pub fn local(settings: TelemetrySettings) -> Result<Self, TelemetryStartError> {
        let otlp = settings.otlp.clone();
        let exporter = otlp.map(|otlp| move |resource: &Resource| export::otlp(&otlp, resource));
        Self::build(settings, exporter)
    }

    /// Like [`Telemetry::local`], but with another exporter.
    ///
    /// # Errors
    /// As [`Telemetry::start`].
    pub fn with_exporter(
        settings: TelemetrySettings,
        exporter: Arc<dyn Export>,
    ) -> Result<Self, TelemetryStartError> {
        Self::build(settings, Some(|_: &Resource| Ok(exporter)))
    }

    fn build(
        settings: TelemetrySettings,
        exporter: Option<impl FnOnce(&Resource) -> Result<Arc<dyn Export>, ExporterError>>,
    ) -> Result<Self, TelemetryStartError> {
        let counts = Arc::new(SpanCounts::default());
        let live = Arc::new(Live::default());
        let faults = Arc::new(Faults::default());
        faults.set(settings.faults.clone());
        let provider = (!settings.is_disabled)
            .then(|| provider(&settings, &counts, &live, exporter))
            .transpose()?;
        let tracer = provider.as_ref().map(tracer);
        let stop = CancellationToken::new();
        let control = control(&settings, &live, &faults, &counts, &stop)?;
        let metrics = Metrics::new(Arc::clone(&counts), Arc::clone(&live));
        let inner = Inner {
            settings,
            provider,
            tracer,
            counts,
            live,
            faults,
            metrics,
            is_ready: AtomicBool::new(false),
            stop,
            control: Mutex::new(control),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Collects `tracing`'s events into the log, on standard error, and its spans into the trace.
    ///
    /// # Errors
    /// [`TelemetryStartError::LogFilter`].
    pub fn subscriber(
        &self,
    ) -> Result<impl Subscriber + Send + Sync + 'static, TelemetryStartError> {
        self.subscriber_to(io::stderr)
    }

    /// Like [`Telemetry::subscriber`], but writes the log to another destination.
    ///
    /// # Errors
    /// As [`Telemetry::subscriber`].
    pub fn subscriber_to(
        &self,
        log: impl for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
    ) -> Result<impl Subscriber + Send + Sync + 'static, TelemetryStartError> {
        subscriber::build(&self.inner.settings, self.inner.tracer.clone(), log)
    }

    /// Adds the layer of an HTTP edge to a router: server spans, metrics, faults, the decision on
    /// which callers to trust, and the trace ID in every response. Add all routes first. Requests
    /// for the paths of [`TelemetrySettings::untraced`] have no trace.
    pub fn http_server(&self, router: axum::Router) -> axum::Router {
        let trusted = self.inner.settings.trusted.clone();
        self.http_server_for(http::Callers::Outside(trusted), router)
    }

    /// Like [`Telemetry::http_server`], but for a service inside the mesh, which continues the
    /// trace of any caller. Only for ports that cannot be reached from outside.
    pub fn http_server_in_mesh(&self, router: axum::Router) -> axum::Router {
        self.http_server_for(http::Callers::Mesh, router)
    }

    fn http_server_for(&self, callers: http::Callers, router: axum::Router) -> axum::Router {
        router.layer(TracedLayer(Arc::new(http::HttpServerState {
            tracer: self.inner.tracer.clone(),
            callers,
            untraced: self.inner.settings.untraced.clone(),
            faults: Arc::clone(&self.inner.faults),
            operations: Arc::clone(&self.inner.metrics.http_server),
        })))
    }

    /// The layer for an HTTP client: client spans, metrics, and the context in the request.
    #[must_use]
    pub fn http_client_layer(&self) -> http::HttpClientLayer {
        TracedLayer(Arc::new(http::HttpClientState {
            tracer: self.inner.tracer.clone(),
            operations: Arc::clone(&self.inner.metrics.http_client),
        }))
    }

    /// A client of a peer over HTTP, which need not be running yet. Each request is traced, and has
    /// this deadline.
    #[must_use]
    pub fn http_peer(&self, peer: &PeerUrl, deadline: Duration) -> http::Peer {
        http::Peer::new(peer.clone(), deadline, &self.http_client_layer())
    }

    /// The layer for a tonic server: server spans, metrics and faults. [`crate::serve::grpc`]
    /// applies it.
    #[must_use]
    pub fn grpc_server_layer(&self) -> grpc::GrpcServerLayer {
        TracedLayer(Arc::new(grpc::RpcServerState {
            tracer: self.inner.tracer.clone(),
            faults: Arc::clone(&self.inner.faults),
            operations: Arc::clone(&self.inner.metrics.rpc_server),
        }))
    }

    /// The layer for a tonic channel: client spans, metrics, and the context in the call.
    #[must_use]
    pub fn grpc_client_layer(&self) -> grpc::GrpcClientLayer {
        TracedLayer(Arc::new(grpc::RpcClientState {
            tracer: self.inner.tracer.clone(),
            operations: Arc::clone(&self.inner.metrics.rpc_client),
            server: None,
        }))
    }

    /// A channel to a peer, which need not be running yet. It is traced, has keep-alive, and
    /// connects at the first call. Must be called inside a Tokio runtime.
    #[must_use]
    pub fn grpc_channel(&self, peer: &PeerUrl) -> grpc::Channel {
        grpc::lazy(peer, self.grpc_client_layer())
    }

    /// `/metrics`, `/healthz` and `/readyz`, for a port of their own. The process is ready only
    /// between [`Telemetry::set_ready`] with `true` and the start of the shutdown.
    pub fn ops(&self) -> axum::Router {
        let (metrics, readiness) = (self.clone(), self.clone());
        ops_router(
            move || metrics.metrics().text(),
            move || match readiness.inner.is_ready.load(Relaxed) {
                true => Ok(()),
                false => Err("not ready".to_owned()),
            },
        )
    }

    /// All metrics. A service can add its own.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    /// The faults in force.
    #[must_use]
    pub fn faults(&self) -> &Arc<Faults> {
        &self.inner.faults
    }

    /// The sampling plan in force.
    #[must_use]
    pub fn live(&self) -> &Arc<Live> {
        &self.inner.live
    }

    /// The outcomes of the spans so far.
    #[must_use]
    pub fn span_counts(&self) -> &Arc<SpanCounts> {
        &self.inner.counts
    }

    /// The tracer for spans made with OpenTelemetry's API. `None` if tracing is off.
    #[must_use]
    pub fn tracer(&self) -> Option<SdkTracer> {
        self.inner.tracer.clone()
    }

    /// The settings of the telemetry.
    #[must_use]
    pub fn settings(&self) -> &TelemetrySettings {
        &self.inner.settings
    }

    /// Sets whether `/readyz` reports ready.
    pub fn set_ready(&self, is_ready: bool) {
        self.inner.is_ready.store(is_ready, Relaxed);
    }

    /// Exports what has been collected, within the grace period, and stops. Spans that end later
    /// are counted as dropped.
    pub async fn shutdown(&self, grace: Duration) -> SpanOutcomes {
        const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(2);
        self.set_ready(false);
        if let Some(provider) = self.inner.provider.clone() {
            let drained =
                // This blocks its thread until the last batch is exported or dropped.
                tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(grace)).await;
            match drained {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "spans were not exported in time"),
                Err(error) => tracing::warn!(%error, "cannot export the last spans"),
            }
        }
        // After the export, so that the last report has the final counts.
        self.inner.stop.cancel();
        let control = self.inner.control.lock().take();
        if let Some(task) = control
            && tokio::time::timeout(SHUTDOWN_DEADLINE, task).await.is_err()
        {
            tracing::warn!("the control stream did not end in time");
        }
        let counts = &self.inner.counts;
        SpanOutcomes {
            exported: counts.exported(),
            dropped: counts.all_dropped(),
        }
    }
}

fn provider(
    settings: &TelemetrySettings,
    counts: &Arc<SpanCounts>,
    live: &Arc<Live>,
    exporter: Option<impl FnOnce(&Resource) -> Result<Arc<dyn Export>, ExporterError>>,
) -> Result<SdkTracerProvider, TelemetryStartError> {
    let resource = resource::of(settings);
    let sampler = LiveSampler::new(Arc::clone(live), settings.fallback);
    let mut builder = SdkTracerProvider::builder()
        .with_sampler(sampler)
        .with_resource(resource.clone());
    if let Some(exporter) = exporter {
        let exporter = || exporter(&resource).map_err(TelemetryStartError::from);
        let processor = BatchProcessor::start(settings.batch, Arc::clone(counts), exporter)?;
        builder = builder.with_span_processor(processor);
    }
    Ok(builder.build())
}

fn tracer(provider: &SdkTracerProvider) -> SdkTracer {
    let scope = InstrumentationScope::builder(env!("CARGO_PKG_NAME"))
        .with_version(env!("CARGO_PKG_VERSION"))
        .with_schema_url(SCHEMA_URL)
        .build();
    provider.tracer_with_scope(scope)
}

fn control(
    settings: &TelemetrySettings,
    live: &Arc<Live>,
    faults: &Arc<Faults>,
    counts: &Arc<SpanCounts>,
    stop: &CancellationToken,
) -> Result<Option<JoinHandle<()>>, TelemetryStartError> {
    let Some(endpoint) = &settings.control_endpoint else {
        return Ok(None);
    };
    let stream = ControlStream {
        endpoint: Endpoint::new(endpoint.clone())?,
        credentials: settings.credentials.clone(),
        service: settings.service.clone(),
        instance: settings.instance.clone(),
        start: uuid::Uuid::new_v4().to_string(),
        live: Arc::clone(live),
        faults: Arc::clone(faults),
        spans: Arc::clone(counts),
        intervals: Intervals::default(),
    };
    let runtime = tokio::runtime::Handle::try_current()?;
    let running = control_stream::run(stream, stop.clone());
    Ok(Some(runtime.spawn(running)))
}
