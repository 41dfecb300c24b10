//! An OTLP receiver in place of Jaeger, which counts how often it received each span.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    trace::v1::ResourceSpans,
};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Request, Response, Status};

/// The number of times that each span was received, by trace and span ID.
pub type Received = BTreeMap<Vec<u8>, BTreeMap<Vec<u8>, usize>>;

/// A server that counts the spans it receives.
pub struct Sink {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    _stop: DropGuard,
}

#[derive(Default)]
struct Shared {
    received: Mutex<Received>,
    refuses: AtomicBool,
}

impl Sink {
    pub async fn start() -> Self {
        let shared = Arc::new(Shared::default());
        let counting = Arc::clone(&shared);
        let (address, stop) = receive(move |spans| counting.count(spans)).await;
        Self {
            address,
            shared,
            _stop: stop,
        }
    }

    /// All spans so far.
    pub fn received(&self) -> Received {
        self.shared.received.lock().clone()
    }

    /// The number of spans so far, repetitions included.
    pub fn spans(&self) -> usize {
        let received = self.shared.received.lock();
        received.values().flat_map(BTreeMap::values).sum()
    }

    /// Makes the server refuse spans, as a Jaeger without its storage does, or accept them again.
    pub fn refuse(&self, refuses: bool) {
        self.shared.refuses.store(refuses, Ordering::Relaxed);
    }
}

impl Shared {
    fn count(&self, resource_spans: Vec<ResourceSpans>) -> Result<(), Status> {
        if self.refuses.load(Ordering::Relaxed) {
            return Err(Status::unavailable("refused by the test"));
        }
        let mut received = self.received.lock();
        let scopes = resource_spans
            .into_iter()
            .flat_map(|resource| resource.scope_spans);
        for span in scopes.flat_map(|scope| scope.spans) {
            let trace = received.entry(span.trace_id).or_default();
            *trace.entry(span.span_id).or_default() += 1;
        }
        Ok(())
    }
}

struct Receiver<F>(F);

#[tonic::async_trait]
impl<F> TraceService for Receiver<F>
where
    F: Fn(Vec<ResourceSpans>) -> Result<(), Status> + Send + Sync + 'static,
{
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        (self.0)(request.into_inner().resource_spans)?;
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

/// Serves OTLP over gRPC on a free port, until the guard is dropped.
pub async fn receive(
    take: impl Fn(Vec<ResourceSpans>) -> Result<(), Status> + Send + Sync + 'static,
) -> (SocketAddr, DropGuard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let service = TraceServiceServer::new(Receiver(take)).max_decoding_message_size(64 << 20);
    let server = tonic::transport::Server::builder()
        .add_service(service)
        .serve_with_incoming_shutdown(
            tokio_stream::wrappers::TcpListenerStream::new(listener),
            stop.clone().cancelled_owned(),
        );
    tokio::spawn(server);
    (address, stop.drop_guard())
}
