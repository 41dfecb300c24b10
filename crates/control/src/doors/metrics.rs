//! OTLP metrics over HTTP, as a Collector hands them on.

mod body;
mod points;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Extension, Router,
    extract::{ConnectInfo, Request, State},
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER},
    },
    response::{IntoResponse, Response},
    routing::post,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use prost::Message;
use spoor_policy::Namespace;
use spoor_runtime::{ACCEPTED_ENCODINGS, Compression};
use tokio::sync::Semaphore;
use tonic::Code;

use crate::{Control, Denied, metrics::Door};

const PROTOBUF: &str = "application/x-protobuf";

/// Requests are handled one after another: each is small, and what many take in memory is not.
const AT_ONCE: usize = 1;
const TURN_WITHIN: Duration = Duration::from_secs(5);

impl Control {
    /// `POST /v1/metrics`: OTLP in protobuf, of which `otel.sdk.span.started` is of use here.
    /// Serve it with `into_make_service_with_connect_info::<SocketAddr>()`: the sender is
    /// identified by its address.
    pub fn metrics_http(&self) -> Router {
        Router::new()
            .route("/v1/metrics", post(metrics))
            .with_state(Receiver {
                control: self.clone(),
                turns: Arc::new(Semaphore::new(AT_ONCE)),
            })
    }
}

#[derive(Clone)]
struct Receiver {
    control: Control,
    turns: Arc<Semaphore>,
}

/// Why metrics are not taken.
#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error("Content-Type must be application/x-protobuf")]
    ContentType,
    #[error("Content-Encoding must be one of {ACCEPTED_ENCODINGS} or identity")]
    ContentEncoding,
    #[error(transparent)]
    Body(#[from] body::BodyError),
    #[error("the body is no ExportMetricsServiceRequest: {0}")]
    Decode(#[from] prost::DecodeError),
    #[error("others are before you: try again later")]
    Busy,
}

async fn metrics(
    State(receiver): State<Receiver>,
    peer: Option<Extension<ConnectInfo<SocketAddr>>>,
    request: Request,
) -> Response {
    let peer = peer.map(|Extension(ConnectInfo(peer))| peer.ip().to_canonical());
    let control = &receiver.control;
    let taken = match control.0.settings.identify.reporting(peer) {
        Ok(namespace) => receiver.take(&namespace, request).await,
        Err(denied) => Err(denied.into()),
    };
    match taken {
        Ok(()) => {
            control.0.metrics.metrics_requests.inc();
            let response = ExportMetricsServiceResponse::default();
            answer(StatusCode::OK, response.encode_to_vec())
        }
        Err(problem) => {
            control.0.metrics.refused(Door::Metrics, problem.reason());
            problem.into_response()
        }
    }
}

impl Receiver {
    async fn take(&self, namespace: &Namespace, request: Request) -> Result<(), Problem> {
        let (parts, body) = request.into_parts();
        let compression = compression(&parts.headers)?;
        let turn = tokio::time::timeout(TURN_WITHIN, self.turns.acquire()).await;
        let _turn = turn
            .map_err(|_| Problem::Busy)?
            .map_err(|_| Problem::Busy)?;
        let bytes = body::read(body, compression).await?;
        let request = ExportMetricsServiceRequest::decode(bytes)?;
        for of_process in points::roots(&request) {
            let key = (namespace.clone(), of_process.service);
            self.control
                .reported(&key, of_process.resource, &of_process.points);
        }
        Ok(())
    }
}

/// The body's compression, if it is one that can be read.
fn compression(headers: &HeaderMap) -> Result<Compression, Problem> {
    let header = |name| headers.get(name).map(HeaderValue::as_bytes);
    let content_type = header(CONTENT_TYPE).unwrap_or_default();
    let essence = content_type.split(|byte| *byte == b';').next();
    let essence = essence.unwrap_or_default().trim_ascii();
    if !essence.eq_ignore_ascii_case(PROTOBUF.as_bytes()) {
        return Err(Problem::ContentType);
    }
    let name = header(CONTENT_ENCODING).unwrap_or_default();
    Compression::named(name).ok_or(Problem::ContentEncoding)
}

impl Problem {
    fn reason(&self) -> &'static str {
        match self {
            Self::Denied(denied) => denied.reason(),
            Self::ContentType | Self::ContentEncoding => "UnsupportedType",
            Self::Body(error) if error.is_too_large() => "TooLarge",
            Self::Body(body::BodyError::TimedOut) => "TimedOut",
            Self::Body(_) | Self::Decode(_) => "BadData",
            Self::Busy => "Busy",
        }
    }

    fn status(&self) -> (StatusCode, Code) {
        match self {
            Self::Denied(denied) => (denied.status_code(), denied.code()),
            Self::ContentType | Self::ContentEncoding => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::InvalidArgument)
            }
            Self::Body(error) if error.is_too_large() => {
                (StatusCode::PAYLOAD_TOO_LARGE, Code::InvalidArgument)
            }
            Self::Body(body::BodyError::TimedOut) => {
                (StatusCode::REQUEST_TIMEOUT, Code::DeadlineExceeded)
            }
            Self::Body(_) | Self::Decode(_) => (StatusCode::BAD_REQUEST, Code::InvalidArgument),
            Self::Busy => (StatusCode::TOO_MANY_REQUESTS, Code::ResourceExhausted),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, code) = self.status();
        let body = RpcStatus {
            code: code as i32,
            message: self.to_string(),
        };
        let mut response = answer(status, body.encode_to_vec());
        let comes_again = matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
        );
        if comes_again {
            let headers = response.headers_mut();
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if matches!(self, Self::ContentEncoding) {
            let accepted = HeaderValue::from_static(ACCEPTED_ENCODINGS);
            response.headers_mut().insert(ACCEPT_ENCODING, accepted);
        }
        response
    }
}

/// `google.rpc.Status`, which OTLP answers with.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

fn answer(status: StatusCode, body: Vec<u8>) -> Response {
    (status, [(CONTENT_TYPE, PROTOBUF)], body).into_response()
}
