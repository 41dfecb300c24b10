//! The exporters against receivers in the process.

use std::{
    io::Read,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{Router, body::Bytes, http::HeaderMap, routing::post};
use opentelemetry::trace::Tracer;
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::any_value::Value,
};
use opentelemetry_sdk::Resource;
use prost::Message;
use spoor_telemetry::{
    Telemetry,
    batch::DropReason,
    export::{self, Failure},
};
use tokio::net::{TcpListener, TcpSocket};
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status, codec::CompressionEncoding};

use crate::{
    fake::{DEADLINE, settings},
    not_grpc,
    serve::listener,
};

/// Gives a configured response to the first request, and accepts the others.
#[derive(Clone, Default)]
pub struct Receiver {
    requests: Arc<Mutex<Vec<(ExportTraceServiceRequest, String)>>>,
    first: Arc<Mutex<Option<FirstResponse>>>,
}

enum FirstResponse {
    Status(Status),
    Http(u16, &'static [(&'static str, &'static str)]),
    Partial(i64),
}

impl Receiver {
    fn responding(response: FirstResponse) -> Self {
        Self {
            first: Arc::new(Mutex::new(Some(response))),
            ..Self::default()
        }
    }

    pub fn spans(&self) -> usize {
        let requests = self.requests.lock().unwrap();
        let scopes = requests
            .iter()
            .flat_map(|(request, _)| &request.resource_spans);
        scopes
            .flat_map(|it| &it.scope_spans)
            .map(|it| it.spans.len())
            .sum()
    }

    fn keep(&self, request: ExportTraceServiceRequest, authorization: &str) {
        self.requests
            .lock()
            .unwrap()
            .push((request, authorization.to_owned()));
    }

    fn service_name(&self) -> String {
        let requests = self.requests.lock().unwrap();
        let resource = requests[0].0.resource_spans[0].resource.clone().unwrap();
        let name = resource
            .attributes
            .into_iter()
            .find(|it| it.key == "service.name")
            .unwrap();
        match name.value.unwrap().value.unwrap() {
            Value::StringValue(name) => name,
            other => panic!("{other:?}"),
        }
    }

    fn authorization(&self) -> String {
        self.requests.lock().unwrap()[0].1.clone()
    }
}

fn partial(rejected_spans: i64) -> ExportTraceServiceResponse {
    let partial = ExportTracePartialSuccess {
        rejected_spans,
        error_message: "bad".to_owned(),
    };
    ExportTraceServiceResponse {
        partial_success: Some(partial),
    }
}

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let authorization = request.metadata().get("authorization");
        let authorization = authorization
            .map_or("", |it| it.to_str().unwrap())
            .to_owned();
        let response = match self.first.lock().unwrap().take() {
            Some(FirstResponse::Status(status)) => return Err(status),
            Some(FirstResponse::Partial(rejected)) => partial(rejected),
            _ => ExportTraceServiceResponse::default(),
        };
        self.keep(request.into_inner(), &authorization);
        Ok(Response::new(response))
    }
}

pub async fn grpc(receiver: Receiver) -> SocketAddr {
    let (listener, address) = listener().await;
    grpc_on(listener, receiver);
    address
}

fn grpc_on(listener: TcpListener, receiver: Receiver) {
    let service = TraceServiceServer::new(receiver).accept_compressed(CompressionEncoding::Gzip);
    let server = tonic::transport::Server::builder().add_service(service);
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
}

pub async fn http(receiver: Receiver) -> SocketAddr {
    let export = move |headers: HeaderMap, body: Bytes| async move {
        let response = match receiver.first.lock().unwrap().take() {
            Some(FirstResponse::Http(status, extra)) => {
                let mut response = http::Response::builder().status(status);
                for (name, value) in extra {
                    response = response.header(*name, *value);
                }
                return response.body(axum::body::Body::empty()).unwrap();
            }
            Some(FirstResponse::Partial(rejected)) => partial(rejected),
            _ => ExportTraceServiceResponse::default(),
        };
        assert_eq!(headers["content-type"], "application/x-protobuf");
        let mut bytes = body.to_vec();
        if headers
            .get("content-encoding")
            .is_some_and(|it| it == "gzip")
        {
            bytes.clear();
            flate2::read::GzDecoder::new(&*body)
                .read_to_end(&mut bytes)
                .unwrap();
        }
        let authorization = headers
            .get("authorization")
            .map_or("", |it| it.to_str().unwrap());
        receiver.keep(
            ExportTraceServiceRequest::decode(&*bytes).unwrap(),
            authorization,
        );
        http::Response::new(axum::body::Body::from(response.encode_to_vec()))
    };
    let router = Router::new().route("/base/v1/traces", post(export));
    crate::serve::http(router, &CancellationToken::new()).await
}

pub fn telemetry(endpoint: &str, protocol: &str, more: &[(&str, &str)]) -> Telemetry {
    let mut variables = vec![
        ("OTEL_SERVICE_NAME", "exporting"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
        (
            "OTEL_EXPORTER_OTLP_HEADERS",
            "authorization=Bearer%20s3cret",
        ),
        ("OTEL_BSP_SCHEDULE_DELAY", "5"),
    ];
    variables.extend(more);
    Telemetry::local(settings(&variables)).unwrap()
}

pub fn make(telemetry: &Telemetry, spans: usize) {
    let tracer = telemetry.tracer().unwrap();
    for _ in 0..spans {
        tracer.start("span");
    }
}

fn dropped(telemetry: &Telemetry) -> [u64; 4] {
    DropReason::ALL.map(|reason| telemetry.span_counts().dropped(reason))
}

#[tokio::test]
async fn grpc_delivers_with_headers_and_resource() {
    for compression in ["none", "gzip"] {
        let receiver = Receiver::default();
        let endpoint = format!("http://{}", grpc(receiver.clone()).await);
        let telemetry = telemetry(
            &endpoint,
            "grpc",
            &[("OTEL_EXPORTER_OTLP_COMPRESSION", compression)],
        );
        make(&telemetry, 3);
        let drained = telemetry.shutdown(DEADLINE).await;
        assert_eq!((drained.exported, drained.dropped), (3, 0));
        assert_eq!(receiver.spans(), 3);
        assert_eq!(receiver.service_name(), "exporting");
        assert_eq!(receiver.authorization(), "Bearer s3cret");
    }
}

#[tokio::test]
async fn http_delivers_with_headers_and_resource() {
    for compression in ["none", "gzip"] {
        let receiver = Receiver::default();
        let endpoint = format!("http://{}/base", http(receiver.clone()).await);
        let more = [("OTEL_EXPORTER_OTLP_COMPRESSION", compression)];
        let telemetry = telemetry(&endpoint, "http/protobuf", &more);
        make(&telemetry, 3);
        let drained = telemetry.shutdown(DEADLINE).await;
        assert_eq!((drained.exported, drained.dropped), (3, 0));
        assert_eq!(receiver.spans(), 3);
        assert_eq!(receiver.service_name(), "exporting");
        assert_eq!(receiver.authorization(), "Bearer s3cret");
    }
}

#[tokio::test]
async fn spans_wait_for_a_receiver_that_starts_late() {
    // Bound but not listening: connections are refused, and no other process gets the port.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    let telemetry = telemetry(&format!("http://{address}"), "grpc", &[]);
    make(&telemetry, 3);
    // Time for a first attempt. It is refused, so no receiver can report it.
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    let receiver = Receiver::default();
    grpc_on(socket.listen(16).unwrap(), receiver.clone());
    let drained = telemetry.shutdown(DEADLINE).await;
    assert_eq!((drained.exported, drained.dropped), (3, 0));
    assert_eq!(receiver.spans(), 3);
}

/// Like a pod whose network is removed: the connection stays, without a process at its end.
#[tokio::test]
async fn silent_receiver_gets_a_new_connection() {
    assert_spans_arrive_after(async |listener| listener.accept().await.unwrap()).await;
}

/// Like an address that briefly leads to another server, which keeps the connection open.
#[tokio::test]
async fn connection_to_another_server_is_replaced() {
    assert_spans_arrive_after(not_grpc::accept_first).await;
}

/// Checks that spans arrive at a receiver that replaces `first_server` on the same port.
async fn assert_spans_arrive_after<T>(first_server: impl AsyncFnOnce(&TcpListener) -> T) {
    let (listener, address) = listener().await;
    let telemetry = telemetry(&format!("http://{address}"), "grpc", &[]);
    make(&telemetry, 3);
    let held = first_server(&listener).await;
    let receiver = Receiver::default();
    grpc_on(listener, receiver.clone());
    let drained = telemetry.shutdown(DEADLINE).await;
    assert_eq!((drained.exported, drained.dropped), (3, 0));
    assert_eq!(receiver.spans(), 3);
    drop(held);
}

#[tokio::test]
async fn grpc_statuses_are_retried_or_final() {
    let retry_info =
        b"\x1a\x30\x0a\x28type.googleapis.com/google.rpc.RetryInfo\x12\x04\x0a\x02\x10\x01";
    let exhausted = Status::with_details(
        Code::ResourceExhausted,
        "slow down",
        Bytes::from_static(retry_info),
    );
    for (status, exported) in [
        (Status::unavailable("rolling out"), 3),
        (Status::data_loss("disk failed"), 3),
        (exhausted, 3),
        (Status::resource_exhausted("no quota"), 0),
        (Status::invalid_argument("bad"), 0),
        (Status::unauthenticated("no token"), 0),
    ] {
        let text = format!("{status}");
        let receiver = Receiver::responding(FirstResponse::Status(status));
        let endpoint = format!("http://{}", grpc(receiver.clone()).await);
        let telemetry = telemetry(&endpoint, "grpc", &[]);
        make(&telemetry, 3);
        let drained = telemetry.shutdown(DEADLINE).await;
        assert_eq!(
            (drained.exported, receiver.spans()),
            (exported, exported as usize),
            "{text}"
        );
        assert_eq!(dropped(&telemetry), [0, 0, 3 - exported, 0], "{text}");
    }
}

#[tokio::test]
async fn http_statuses_are_retried_or_final() {
    for (status, headers, exported) in [
        (503, &[("retry-after", "0")][..], 3),
        (429, &[][..], 3),
        (400, &[][..], 0),
        (500, &[][..], 0),
        (404, &[][..], 0),
    ] {
        let receiver = Receiver::responding(FirstResponse::Http(status, headers));
        let endpoint = format!("http://{}/base", http(receiver.clone()).await);
        let telemetry = telemetry(&endpoint, "http/protobuf", &[]);
        make(&telemetry, 3);
        let drained = telemetry.shutdown(DEADLINE).await;
        assert_eq!(
            (drained.exported, receiver.spans()),
            (exported, exported as usize),
            "{status}"
        );
        assert_eq!(dropped(&telemetry), [0, 0, 3 - exported, 0], "{status}");
    }
}

#[tokio::test]
async fn refused_batch_differs_from_failed_receiver() {
    for (status, is_refused) in [
        (Status::invalid_argument("bad"), true),
        (Status::resource_exhausted("too large"), true),
        (Status::unimplemented("unknown service"), false),
        (Status::internal("no storage"), false),
    ] {
        let receiver = Receiver::responding(FirstResponse::Status(status));
        let endpoint = format!("http://{}", grpc(receiver).await);
        assert_refused(&endpoint, "grpc", is_refused).await;
    }
    for (status, is_refused) in [(400, true), (413, true), (401, false), (500, false)] {
        let receiver = Receiver::responding(FirstResponse::Http(status, &[]));
        let endpoint = format!("http://{}/base", http(receiver).await);
        assert_refused(&endpoint, "http/protobuf", is_refused).await;
    }
}

async fn assert_refused(endpoint: &str, protocol: &str, is_refused: bool) {
    let settings = settings(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
    ]);
    let resource = Resource::builder_empty().build();
    let exporter = export::otlp(&settings.otlp.unwrap(), &resource).unwrap();
    let failure = exporter.send(Bytes::new()).await.unwrap_err();
    match failure {
        Failure::Refused(_) => assert!(is_refused, "{failure:?}"),
        Failure::ReceiverFailed(_) => assert!(!is_refused, "{failure:?}"),
        Failure::Retry { .. } => panic!("{failure:?}"),
    }
}

#[tokio::test]
async fn a_partial_success_counts_what_was_rejected() {
    let over_grpc = Receiver::responding(FirstResponse::Partial(2));
    let grpc = format!("http://{}", grpc(over_grpc).await);
    let over_http = Receiver::responding(FirstResponse::Partial(2));
    let http = format!("http://{}/base", http(over_http).await);
    for (endpoint, protocol) in [(grpc, "grpc"), (http, "http/protobuf")] {
        let telemetry = telemetry(&endpoint, protocol, &[]);
        make(&telemetry, 3);
        telemetry.shutdown(DEADLINE).await;
        assert_eq!(telemetry.span_counts().exported(), 1, "{protocol}");
        assert_eq!(dropped(&telemetry), [0, 0, 2, 0], "{protocol}");
    }
}

/// The server does not support TLS, so the handshake fails and is retried.
#[tokio::test]
async fn https_endpoint_uses_tls() {
    for protocol in ["grpc", "http/protobuf"] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("https://{}", listener.local_addr().unwrap());
        let telemetry = telemetry(&endpoint, protocol, &[]);
        make(&telemetry, 1);
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut first = [0];
        tokio::io::AsyncReadExt::read_exact(&mut stream, &mut first)
            .await
            .unwrap();
        // A TLS record of type handshake: RFC 8446, 5.1.
        assert_eq!(first, [22], "{protocol}");
        drop((stream, listener));
        telemetry
            .shutdown(std::time::Duration::from_millis(50))
            .await;
        assert_eq!(dropped(&telemetry), [0, 0, 0, 1], "{protocol}");
    }
}
