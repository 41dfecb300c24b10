//! Stands where Jaeger does: takes spans and remembers whose they were.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
    trace_service_server::{TraceService, TraceServiceServer},
};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Request, Response, Status};

/// How often each span came, by trace and span id.
pub type Received = BTreeMap<Vec<u8>, BTreeMap<Vec<u8>, usize>>;

/// A server that remembers what it was sent.
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
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let stop = CancellationToken::new();
        let service = TraceServiceServer::new(Receiver(Arc::clone(&shared)))
            .max_decoding_message_size(64 << 20);
        let server = tonic::transport::Server::builder()
            .add_service(service)
            .serve_with_incoming_shutdown(
                tokio_stream::wrappers::TcpListenerStream::new(listener),
                stop.clone().cancelled_owned(),
            );
        tokio::spawn(server);
        Self {
            address,
            shared,
            _stop: stop.drop_guard(),
        }
    }

    /// All that came so far.
    pub fn received(&self) -> Received {
        self.shared.received.lock().clone()
    }

    /// How many spans came so far.
    pub fn spans(&self) -> usize {
        let received = self.shared.received.lock();
        received.values().flat_map(BTreeMap::values).sum()
    }

    /// Whether it takes nothing, as a Jaeger whose storage is away.
    pub fn refuse(&self, refuses: bool) {
        self.shared.refuses.store(refuses, Ordering::Relaxed);
    }
}

struct Receiver(Arc<Shared>);

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        if self.0.refuses.load(Ordering::Relaxed) {
            return Err(Status::unavailable("asked to refuse"));
        }
        let mut received = self.0.received.lock();
        let scopes = request.into_inner().resource_spans.into_iter();
        let spans = scopes
            .flat_map(|resource| resource.scope_spans)
            .flat_map(|scope| scope.spans);
        for span in spans {
            let trace = received.entry(span.trace_id).or_default();
            *trace.entry(span.span_id).or_default() += 1;
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}
