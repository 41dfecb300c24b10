//! A receiver that keeps the spans it gets.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    trace::v1::Span,
};
use tokio::{net::TcpListener, time::sleep};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, transport::Server};

use crate::{plane::listen, running::until, spans::trace_id};

#[derive(Clone, Default)]
pub struct Receiver {
    spans: Arc<Mutex<Vec<Span>>>,
    /// The response to the next request.
    next: Arc<Mutex<Option<Status>>>,
    failures: Arc<Mutex<Failures>>,
}

/// Requests that fail.
#[derive(Default)]
struct Failures {
    left: usize,
    in_progress: usize,
    /// The most that were in progress at the same time.
    max_in_progress: usize,
}

impl Failures {
    /// Begins a request, which fails if the result is true.
    fn begin(&mut self) -> bool {
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        self.in_progress += 1;
        self.max_in_progress = self.max_in_progress.max(self.in_progress);
        true
    }
}

impl Receiver {
    /// A receiver on a port of its own.
    pub async fn start() -> (Self, SocketAddr) {
        let receiver = Self::default();
        let address = receiver.listen(SocketAddr::from(([127, 0, 0, 1], 0))).await;
        (receiver, address)
    }

    pub async fn listen(&self, address: SocketAddr) -> SocketAddr {
        let listener: TcpListener = listen(address).await;
        let address = listener.local_addr().unwrap();
        let server = Server::builder().add_service(TraceServiceServer::new(self.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        address
    }

    /// Gives this response to the next request.
    pub fn refuse_next(&self, status: Status) {
        *self.next.lock().unwrap() = Some(status);
    }

    /// Lets this many of the next requests fail, each after a moment.
    pub fn fail_next(&self, requests: usize) {
        self.failures.lock().unwrap().left = requests;
    }

    /// The most failing requests that were in progress at the same time.
    pub fn max_failing_in_progress(&self) -> usize {
        self.failures.lock().unwrap().max_in_progress
    }

    pub fn spans(&self) -> Vec<Span> {
        self.spans.lock().unwrap().clone()
    }

    /// The spans of a trace.
    pub fn trace(&self, number: u64) -> Vec<Span> {
        let id = trace_id(number);
        let spans = self.spans().into_iter();
        spans.filter(|span| span.trace_id == id).collect()
    }

    /// Waits for both spans of a trace.
    pub async fn wait_for_trace(&self, number: u64) {
        let what = format!("trace {number}");
        until(&what, async || self.trace(number).len() == 2).await;
    }

    /// Waits until there are this many spans.
    pub async fn wait_for_spans(&self, count: usize) {
        until("all spans", async || self.spans().len() == count).await;
    }
}

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        if let Some(status) = self.next.lock().unwrap().take() {
            return Err(status);
        }
        let fails = self.failures.lock().unwrap().begin();
        if fails {
            sleep(Duration::from_millis(300)).await;
            self.failures.lock().unwrap().in_progress -= 1;
            return Err(Status::unavailable("not now"));
        }
        let resources = request.into_inner().resource_spans.into_iter();
        let scopes = resources.flat_map(|it| it.scope_spans);
        let mut spans = self.spans.lock().unwrap();
        spans.extend(scopes.flat_map(|it| it.spans));
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}
