//! OTLP metrics over HTTP, as a Collector forwards them.

mod points;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Extension, Router,
    body::{Body, Bytes},
    extract::{ConnectInfo, Request, State},
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE},
    },
    response::{IntoResponse, Response},
    routing::post,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use prost::Message;
use spoor_policy::Namespace;
use spoor_runtime::{ACCEPTED_ENCODINGS, Compression, DecompressError, add_retry_after};
use tokio::sync::Semaphore;
use tonic::Code;

use crate::{control::Control, identity::Denied, metrics::Endpoint};

const PROTOBUF: &str = "application/x-protobuf";

/// The most requests decoded at a time. One request is small, but a decoded one can take fifty
/// times its size in memory.
const MAX_CONCURRENT_REQUESTS: usize = 1;

/// The longest time that a request waits for the ones before it.
const MAX_QUEUE_TIME: Duration = Duration::from_secs(5);

/// The largest body accepted, once decompressed.
///
/// Enough for the counts of several hundred processes. No more, since messages can take fifty
/// times their size once decoded.
const MAX_BODY_BYTES: usize = 512 * 1024;

/// The longest time that a body may take to arrive.
const MAX_BODY_TIME: Duration = Duration::from_secs(5);

impl Control {
    /// A router for `POST /v1/metrics`, which accepts OTLP in protobuf and uses the metric
    /// `otel.sdk.span.started`.
    ///
    /// Serve it with `into_make_service_with_connect_info::<SocketAddr>()`: the sender is
    /// identified by its address.
    pub fn metrics_http(&self) -> Router {
        Router::new()
            .route("/v1/metrics", post(metrics))
            .with_state(Receiver {
                control: self.clone(),
                slots: Arc::new(Semaphore::new(MAX_CONCURRENT_REQUESTS)),
            })
    }
}

#[derive(Clone)]
struct Receiver {
    control: Control,
    slots: Arc<Semaphore>,
}

/// The reason why metrics are refused.
#[derive(Debug, thiserror::Error)]
enum MetricsError {
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error("Content-Type must be application/x-protobuf")]
    ContentType,
    #[error("Content-Encoding must be one of {ACCEPTED_ENCODINGS} or identity")]
    ContentEncoding,
    #[error("body is larger than {MAX_BODY_BYTES} bytes; send smaller batches")]
    TooLarge,
    #[error("body did not arrive within {} s", MAX_BODY_TIME.as_secs())]
    TimedOut,
    #[error("body ended early: {0}")]
    Aborted(#[source] axum::Error),
    #[error(transparent)]
    Compressed(#[from] DecompressError),
    #[error("body is not an ExportMetricsServiceRequest: {0}")]
    Decode(#[from] prost::DecodeError),
    #[error("too many requests; try again later")]
    Busy,
}

async fn metrics(
    State(receiver): State<Receiver>,
    peer: Option<Extension<ConnectInfo<SocketAddr>>>,
    request: Request,
) -> Response {
    let peer = peer.map(|Extension(ConnectInfo(peer))| peer.ip().to_canonical());
    let control = &receiver.control;
    // Identified first, so that the body of an unknown sender is not read.
    let result = match control.settings().identify.reporting(peer) {
        Ok(namespace) => receiver.receive(&namespace, request).await,
        Err(denied) => Err(denied.into()),
    };
    match result {
        Ok(()) => {
            control.metrics().metrics_requests.inc();
            let response = ExportMetricsServiceResponse::default();
            protobuf_response(StatusCode::OK, response.encode_to_vec())
        }
        Err(error) => {
            let (reason, ..) = error.codes();
            control.metrics().count_refused(Endpoint::Metrics, reason);
            error.into_response()
        }
    }
}

impl Receiver {
    async fn receive(&self, namespace: &Namespace, request: Request) -> Result<(), MetricsError> {
        let (parts, body) = request.into_parts();
        let compression = compression(&parts.headers)?;
        // Read before the wait for a slot, so that a slow sender delays no other.
        let as_sent = read(body).await?;
        let slot = Arc::clone(&self.slots).acquire_owned();
        let slot = tokio::time::timeout(MAX_QUEUE_TIME, slot).await;
        let slot = slot.ok().and_then(Result::ok).ok_or(MetricsError::Busy)?;
        let control = self.control.clone();
        let namespace = namespace.clone();
        // On a blocking thread, since decompressing blocks without content takes up to 0.22 µs for each
        // byte, so 0.1 s for the longest body.
        let applied = tokio::task::spawn_blocking(move || {
            // Held until the points are applied, since it bounds the memory of decoded requests.
            let _slot = slot;
            let bytes: Result<Bytes, MetricsError> =
                compression.decompress(as_sent, MAX_BODY_BYTES, |_| Ok(()));
            let request = ExportMetricsServiceRequest::decode(bytes?)?;
            let processes = request.resource_metrics.iter();
            for process in processes.filter_map(points::root_span_points) {
                let key = (namespace.clone(), process.service);
                control.add_sdk_counts(&key, process.resource, &process.points);
            }
            Ok(())
        });
        // The task fails only if it panics, or if the runtime shuts down before it starts.
        applied.await.unwrap_or(Err(MetricsError::Busy))
    }
}

/// The compression of a body in protobuf.
fn compression(headers: &HeaderMap) -> Result<Compression, MetricsError> {
    let header = |name| headers.get(name).map(HeaderValue::as_bytes);
    let content_type = header(CONTENT_TYPE).unwrap_or_default();
    let essence = content_type.split(|byte| *byte == b';').next();
    let essence = essence.unwrap_or_default().trim_ascii();
    if !essence.eq_ignore_ascii_case(PROTOBUF.as_bytes()) {
        return Err(MetricsError::ContentType);
    }
    let name = header(CONTENT_ENCODING).unwrap_or_default();
    Compression::named(name).ok_or(MetricsError::ContentEncoding)
}

/// Reads a body as it was sent. The listener bounds the bytes of all bodies.
async fn read(body: Body) -> Result<Bytes, MetricsError> {
    let read = axum::body::to_bytes(body, MAX_BODY_BYTES);
    let read = tokio::time::timeout(MAX_BODY_TIME, read).await;
    read.map_err(|_| MetricsError::TimedOut)?.map_err(|error| {
        let is_too_large = std::error::Error::source(&error)
            .is_some_and(|source| source.is::<http_body_util::LengthLimitError>());
        match is_too_large {
            true => MetricsError::TooLarge,
            false => MetricsError::Aborted(error),
        }
    })
}

impl MetricsError {
    /// The reason under which the refusal is counted, and the status over HTTP and in its body.
    fn codes(&self) -> (&'static str, StatusCode, Code) {
        match self {
            Self::Denied(denied) => (denied.reason(), denied.status_code(), denied.code()),
            Self::ContentType | Self::ContentEncoding => {
                let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
                ("UnsupportedType", status, Code::InvalidArgument)
            }
            Self::TooLarge | Self::Compressed(DecompressError::TooLarge { .. }) => (
                "TooLarge",
                StatusCode::PAYLOAD_TOO_LARGE,
                Code::InvalidArgument,
            ),
            Self::TimedOut => (
                "TimedOut",
                StatusCode::REQUEST_TIMEOUT,
                Code::DeadlineExceeded,
            ),
            Self::Aborted(_) | Self::Compressed(_) | Self::Decode(_) => {
                ("BadData", StatusCode::BAD_REQUEST, Code::InvalidArgument)
            }
            Self::Busy => (
                "Busy",
                StatusCode::TOO_MANY_REQUESTS,
                Code::ResourceExhausted,
            ),
        }
    }
}

impl IntoResponse for MetricsError {
    fn into_response(self) -> Response {
        let (_, status, code) = self.codes();
        // OTLP/HTTP: the body of an error response is a `google.rpc.Status`.
        let body = tonic_types::pb::Status {
            code: code as i32,
            message: self.to_string(),
            details: Vec::new(),
        };
        let mut response = protobuf_response(status, body.encode_to_vec());
        // OTLP/HTTP: a client retries these after the time in `Retry-After`.
        add_retry_after(&mut response);
        if matches!(self, Self::ContentEncoding) {
            let accepted = HeaderValue::from_static(ACCEPTED_ENCODINGS);
            response.headers_mut().insert(ACCEPT_ENCODING, accepted);
        }
        response
    }
}

fn protobuf_response(status: StatusCode, body: Vec<u8>) -> Response {
    (status, [(CONTENT_TYPE, PROTOBUF)], body).into_response()
}
