//! Our stack and the stock one, each with a receiver for its spans.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
    trace_service_server::{TraceService, TraceServiceServer},
};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{Sampler, SdkTracerProvider},
};
use spoor_telemetry::{Telemetry, TelemetrySettings};
use tokio::runtime::Runtime;
use tonic::{Request, Response, Status, transport::server::TcpIncoming};
use tracing::Dispatch;
use tracing_subscriber::{Registry, filter::LevelFilter, layer::SubscriberExt};

#[derive(Clone, Copy)]
pub enum Sampling {
    /// `OTEL_SDK_DISABLED`.
    Off,
    OnePercent,
    Everything,
}

impl Sampling {
    fn probability(self) -> f64 {
        match self {
            Self::Off => 0.0,
            Self::OnePercent => 0.01,
            Self::Everything => 1.0,
        }
    }
}

/// The layers of a service, and the receiver of its spans.
pub struct Stack {
    pub layers: Layers,
    pub dispatch: Dispatch,
    received: Arc<AtomicU64>,
}

pub enum Layers {
    None,
    Ours(Telemetry),
    Stock(SdkTracerProvider),
}

impl Stack {
    pub fn none() -> Self {
        Self {
            layers: Layers::None,
            dispatch: Dispatch::none(),
            received: Arc::default(),
        }
    }

    pub fn ours(exporting: &Runtime, sampling: Sampling) -> Self {
        let _inside = exporting.enter();
        let (receiver, received) = receive();
        let settings = TelemetrySettings::read(|name| match (name, sampling) {
            ("OTEL_SDK_DISABLED", Sampling::Off) => Some("true".to_owned()),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", _) => Some(format!("http://{receiver}")),
            ("OTEL_TRACES_SAMPLER", _) => Some("parentbased_traceidratio".to_owned()),
            ("OTEL_TRACES_SAMPLER_ARG", _) => Some(sampling.probability().to_string()),
            _ => None,
        });
        let telemetry = Telemetry::local(settings.unwrap()).unwrap();
        Self {
            dispatch: Dispatch::new(telemetry.subscriber().unwrap()),
            layers: Layers::Ours(telemetry),
            received,
        }
    }

    pub fn stock(exporting: &Runtime, sampling: Sampling) -> Self {
        let _inside = exporting.enter();
        let (receiver, received) = receive();
        let exporter = SpanExporter::builder()
            .with_tonic()
            .with_endpoint(format!("http://{receiver}"));
        let by_ratio = Sampler::TraceIdRatioBased(sampling.probability());
        let provider = SdkTracerProvider::builder()
            .with_resource(Resource::builder().build())
            .with_sampler(Sampler::ParentBased(Box::new(by_ratio)))
            .with_batch_exporter(exporter.build().unwrap())
            .build();
        // The stock layers use the global propagator; ours do not.
        opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
        let spans = tracing_opentelemetry::layer().with_tracer(provider.tracer("bench"));
        Self {
            dispatch: Dispatch::new(Registry::default().with(LevelFilter::INFO).with(spans)),
            layers: Layers::Stock(provider),
            received,
        }
    }

    pub fn received(&self) -> u64 {
        self.received.load(Relaxed)
    }

    /// Waits until no more spans arrive.
    pub fn wait_until_received(&self) {
        // Several times the time that a full batch takes.
        const QUIET: Duration = Duration::from_millis(20);
        loop {
            let before = self.received();
            thread::sleep(QUIET);
            if self.received() == before {
                return;
            }
        }
    }

    pub async fn stop(self) {
        match self.layers {
            Layers::None => {}
            Layers::Ours(telemetry) => {
                telemetry.shutdown(Duration::from_secs(5)).await;
            }
            Layers::Stock(provider) => {
                let stopped = tokio::task::spawn_blocking(move || provider.shutdown());
                stopped.await.unwrap().unwrap();
            }
        }
    }
}

fn receive() -> (SocketAddr, Arc<AtomicU64>) {
    let received = Arc::new(AtomicU64::new(0));
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = incoming.local_addr().unwrap();
    let server = tonic::transport::Server::builder()
        .add_service(TraceServiceServer::new(Receiver(Arc::clone(&received))));
    tokio::spawn(server.serve_with_incoming(incoming.with_nodelay(Some(true))));
    (address, received)
}

struct Receiver(Arc<AtomicU64>);

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let request = request.into_inner();
        let scopes = request.resource_spans.iter().flat_map(|it| &it.scope_spans);
        let spans: usize = scopes.map(|it| it.spans.len()).sum();
        self.0.fetch_add(u64::try_from(spans).unwrap(), Relaxed);
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}
