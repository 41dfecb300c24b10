//! The throughput of the export path: the batch processor with its defaults and the gRPC
//! exporter, to a receiver in the same process that decodes and counts.
//!
//! `cargo bench -p spoor-telemetry --bench export`
#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use opentelemetry::{
    KeyValue,
    trace::{Span, SpanKind, Tracer},
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
    trace_service_server::{TraceService, TraceServiceServer},
};
use opentelemetry_sdk::trace::SdkTracer;
use spoor_telemetry::{Telemetry, TelemetrySettings};
use tonic::{Request, Response, Status, transport::server::TcpIncoming};

/// The rates, each for [`DURATION`]. `None` is as fast as one thread can make spans.
const SPANS_PER_SECOND: [Option<u32>; 4] = [Some(5_000), Some(20_000), Some(50_000), None];
const DURATION: Duration = Duration::from_secs(3);
/// The time between two bursts of a paced run.
const TICK: Duration = Duration::from_millis(10);

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    println!(
        "{:>14}{:>12}{:>12}{:>10}{:>14}",
        "spans/s", "made", "exported", "dropped", "drained in"
    );
    for rate in SPANS_PER_SECOND {
        let received = Arc::new(AtomicU64::new(0));
        let receiver = runtime.block_on(receive(Arc::clone(&received)));
        let telemetry = start(receiver);
        let made = make(&telemetry.tracer().unwrap(), rate);
        let stopping = Instant::now();
        let drained = runtime.block_on(telemetry.shutdown(Duration::from_secs(30)));
        assert_eq!(received.load(Relaxed), drained.exported);
        assert_eq!(made, drained.exported + drained.dropped);
        let rate = rate.map_or_else(
            || format!("{:.0} (max)", per_second(made)),
            |rate| rate.to_string(),
        );
        let (exported, dropped) = (drained.exported, drained.dropped);
        let took = stopping.elapsed().as_millis();
        println!("{rate:>14}{made:>12}{exported:>12}{dropped:>10}{took:>11} ms");
    }
}

fn per_second(made: u64) -> f64 {
    f64::from(u32::try_from(made).unwrap()) / DURATION.as_secs_f64()
}

fn start(receiver: SocketAddr) -> Telemetry {
    let endpoint = format!("http://{receiver}");
    let settings = TelemetrySettings::read(|name| {
        (name == "OTEL_EXPORTER_OTLP_ENDPOINT").then(|| endpoint.clone())
    });
    Telemetry::local(settings.unwrap()).unwrap()
}

/// Makes spans at a rate, or as fast as possible, and returns their number.
fn make(tracer: &SdkTracer, rate: Option<u32>) -> u64 {
    let end = Instant::now() + DURATION;
    let burst = rate.map_or(1_000, |rate| rate / 100);
    let mut made = 0;
    let mut next = Instant::now();
    while Instant::now() < end {
        for _ in 0..burst {
            span(tracer);
        }
        made += u64::from(burst);
        if rate.is_some() {
            next += TICK;
            thread::sleep(next.saturating_duration_since(Instant::now()));
        }
    }
    made
}

/// Makes a span with about the attributes of a server span.
fn span(tracer: &SdkTracer) {
    let mut span = tracer.build(
        tracer
            .span_builder("GET /wishes/{id}")
            .with_kind(SpanKind::Server),
    );
    span.set_attributes([
        KeyValue::new("http.request.method", "GET"),
        KeyValue::new("http.route", "/wishes/{id}"),
        KeyValue::new("url.path", "/wishes/0af76519".to_owned()),
        KeyValue::new("client.address", "127.0.0.1".to_owned()),
        KeyValue::new("user_agent.original", "bench/1".to_owned()),
        KeyValue::new("http.response.status_code", 200),
    ]);
    span.end();
}

async fn receive(received: Arc<AtomicU64>) -> SocketAddr {
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = incoming.local_addr().unwrap();
    let server = tonic::transport::Server::builder()
        .add_service(TraceServiceServer::new(Receiver(received)));
    tokio::spawn(server.serve_with_incoming(incoming.with_nodelay(Some(true))));
    address
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
