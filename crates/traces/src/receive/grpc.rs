//! OTLP over gRPC.
//!
//! Written by hand where tonic would do it: tonic decompresses a message before anything can count
//! how large it becomes.

use axum::{
    Router,
    extract::{Request, State},
    http::{self, HeaderMap, HeaderValue, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::post,
};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use spoor_runtime::{ACCEPTED_ENCODINGS, Compression, DecompressError};
use tonic::{Code, Status, metadata::GRPC_CONTENT_TYPE};

use super::{
    body::{self, BodyError},
    settings::ReceiveSettings,
    status::{self, PartialSuccess},
};
use crate::{InvalidRequest, OutOfMemory, Pipeline, ScanError, metrics::Refusal};

const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
/// A flag that says how the message is compressed, and the message's length.
const PREFIX_BYTES: usize = 5;

/// Failure of a call.
#[derive(Debug, thiserror::Error)]
enum GrpcError {
    #[error("shutting down: try again later")]
    Closed,
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error("the body is not one gRPC message")]
    Framing,
    #[error("grpc-encoding must be one of {ACCEPTED_ENCODINGS}, not \"{0}\"")]
    Compression(String),
    #[error(transparent)]
    Request(#[from] InvalidRequest),
}

/// `opentelemetry.proto.collector.trace.v1.TraceService`, which takes requests without decoding
/// them.
pub(super) fn routes() -> Router<Pipeline> {
    Router::new().route(EXPORT, post(traces))
}

async fn traces(State(pipeline): State<Pipeline>, request: Request) -> Response {
    match export(&pipeline, request).await {
        Ok(reply) => respond(&reply).into_response(),
        Err(error) => {
            pipeline.refusals().count(error.refusal());
            let mut response = error.status().into_http::<tonic::body::Body>();
            accept_encoding(response.headers_mut());
            response.into_response()
        }
    }
}

async fn export(pipeline: &Pipeline, request: Request) -> Result<Vec<u8>, GrpcError> {
    let settings = pipeline.receive_settings();
    let (parts, mut body) = request.into_parts();
    let mut share = pipeline.memory().share();
    let with_prefix = ReceiveSettings {
        max_body_bytes: settings.max_body_bytes + PREFIX_BYTES,
        ..settings.clone()
    };
    let body = body::read(&mut body, &with_prefix, &mut share).await?;
    if pipeline.is_closed() {
        return Err(GrpcError::Closed);
    }
    let (message, is_compressed) = message(body)?;
    let compression = if is_compressed {
        compression(&parts.headers)?
    } else {
        Compression::Identity
    };
    let message = body::decompress(message, compression, settings, &mut share)?;
    let accepted = pipeline.accept_within(&message, &mut share)?;
    Ok(PartialSuccess::of(accepted).response())
}

/// The one message of a unary call, and whether it is compressed.
fn message(mut body: Bytes) -> Result<(Bytes, bool), GrpcError> {
    if body.len() < PREFIX_BYTES {
        return Err(GrpcError::Framing);
    }
    let flag = body.get_u8();
    let length = body.get_u32();
    if flag > 1 || usize::try_from(length) != Ok(body.len()) {
        return Err(GrpcError::Framing);
    }
    Ok((body, flag == 1))
}

fn compression(headers: &HeaderMap) -> Result<Compression, GrpcError> {
    let name = headers.get("grpc-encoding");
    let name = name.map_or(&b""[..], HeaderValue::as_bytes);
    Compression::named(name)
        .ok_or_else(|| GrpcError::Compression(String::from_utf8_lossy(name).into_owned()))
}

impl From<ScanError> for GrpcError {
    fn from(error: ScanError) -> Self {
        match error {
            ScanError::Invalid(error) => Self::Request(error),
            ScanError::OutOfMemory(error) => Self::Body(error.into()),
        }
    }
}

impl GrpcError {
    fn status(&self) -> Status {
        let message = self.to_string();
        match self {
            Self::Closed => status::retry_later(Code::Unavailable, &message),
            // To OTLP out of range would mean: try again. That does not help a body that is too
            // large.
            Self::Body(
                BodyError::TooLarge { .. }
                | BodyError::Compressed(DecompressError::TooLarge { .. })
                | BodyError::OutOfMemory(OutOfMemory::RequestTooLarge),
            ) => Status::resource_exhausted(message),
            Self::Body(BodyError::OutOfMemory(OutOfMemory::Overloaded)) => {
                status::retry_later(Code::ResourceExhausted, &message)
            }
            Self::Body(BodyError::TimedOut { .. }) => Status::deadline_exceeded(message),
            Self::Body(BodyError::Aborted(_)) => Status::cancelled(message),
            Self::Framing => Status::internal(message),
            Self::Compression(_) => Status::unimplemented(message),
            Self::Body(BodyError::Compressed(DecompressError::Invalid(_))) | Self::Request(_) => {
                Status::invalid_argument(message)
            }
        }
    }

    fn refusal(&self) -> Refusal {
        match self {
            Self::Closed => Refusal::ShuttingDown,
            Self::Body(error) => error.refusal(),
            Self::Compression(_) => Refusal::UnsupportedType,
            Self::Framing | Self::Request(_) => Refusal::BadData,
        }
    }
}

/// The response of a call that succeeded.
pub(super) fn respond(reply: &[u8]) -> http::Response<tonic::body::Body> {
    let mut frame = BytesMut::with_capacity(PREFIX_BYTES + reply.len());
    frame.put_u8(0);
    frame.put_u32(u32::try_from(reply.len()).unwrap_or(u32::MAX));
    frame.put_slice(reply);
    let ok = HeaderValue::from(Code::Ok as i32);
    let trailers = HeaderMap::from_iter([(Status::GRPC_STATUS, ok)]);
    let body = Full::new(frame.freeze()).with_trailers(std::future::ready(Some(Ok(trailers))));
    let mut response = http::Response::new(tonic::body::Body::new(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, GRPC_CONTENT_TYPE);
    accept_encoding(headers);
    response
}

fn accept_encoding(headers: &mut HeaderMap) {
    let name = http::HeaderName::from_static("grpc-accept-encoding");
    headers.insert(name, HeaderValue::from_static(ACCEPTED_ENCODINGS));
}
