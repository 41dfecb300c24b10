//! The receiver of the spans that are kept, which counts them.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
    trace_service_server::{TraceService, TraceServiceServer},
};
use tokio::{net::TcpListener, time::sleep};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, transport::Server};

/// The time without another span after which the last one is considered to have arrived. The
/// Collector holds spans for 200 ms to send them together.
const QUIET_TIME: Duration = Duration::from_secs(1);
const MAX_REQUEST_BYTES: usize = 64 << 20;

/// The receiver. Clones share the counts.
#[derive(Clone, Default)]
pub struct Sink(Arc<Counts>);

#[derive(Default)]
struct Counts {
    spans: AtomicU64,
    roots: AtomicU64,
}

/// The spans received so far.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    pub spans: u64,
    /// The root spans among them, of which each trace has one.
    pub roots: u64,
}

impl Sink {
    /// Listens on a port of its own until the benchmark ends.
    pub async fn start() -> (Self, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let sink = Self::default();
        let service = TraceServiceServer::new(sink.clone());
        let service = service.max_decoding_message_size(MAX_REQUEST_BYTES);
        let server = Server::builder().add_service(service);
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        (sink, address)
    }

    /// Waits until no more spans arrive, and returns their counts.
    pub async fn wait_until_quiet(&self) -> Kept {
        let mut before = self.kept();
        loop {
            sleep(QUIET_TIME).await;
            let now = self.kept();
            if now == before {
                return now;
            }
            before = now;
        }
    }

    fn kept(&self) -> Kept {
        Kept {
            spans: self.0.spans.load(Relaxed),
            roots: self.0.roots.load(Relaxed),
        }
    }
}

#[tonic::async_trait]
impl TraceService for Sink {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let resources = request.get_ref().resource_spans.iter();
        let scopes = resources.flat_map(|resource| &resource.scope_spans);
        for scope in scopes {
            let roots = scope.spans.iter();
            let roots = roots.filter(|span| span.parent_span_id.is_empty()).count();
            self.0.spans.fetch_add(scope.spans.len() as u64, Relaxed);
            self.0.roots.fetch_add(roots as u64, Relaxed);
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}
