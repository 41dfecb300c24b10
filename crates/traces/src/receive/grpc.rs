//! OTLP over gRPC.
//!
//! Written by hand, since tonic decompresses a message before its decompressed size can be
//! limited.

use axum::{
    Router,
    extract::{Request, State},
    http::{self, HeaderMap, HeaderValue, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::post,
};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use spoor_runtime::{ACCEPTED_ENCODINGS, Compression, ConnectionTurn};
use tonic::{Code, Status, metadata::GRPC_CONTENT_TYPE};

use super::{
    body,
    content::Content,
    error::ReceiveError,
    status::{self, Encoding},
};
use crate::{receiver::Receiver, request_counts::RefusalReason};

const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
/// The compressed flag and the length of the message.
const PREFIX_BYTES: usize = 5;

/// `opentelemetry.proto.collector.trace.v1.TraceService`, which accepts requests without
/// decoding them.
pub(super) fn routes() -> Router<Receiver> {
    Router::new().route(EXPORT, post(traces))
}

async fn traces(State(receiver): State<Receiver>, request: Request) -> Response {
    match export(&receiver, request).await {
        Ok(reply) => respond(&reply).into_response(),
        Err(error) => {
            receiver.request_counts().count_refused(error.reason());
            let mut response = status(&error).into_http::<tonic::body::Body>();
            // gRPC's compression specification requires this header if an encoding is refused.
            accept_encoding(response.headers_mut());
            response.into_response()
        }
    }
}

async fn export(receiver: &Receiver, request: Request) -> Result<Vec<u8>, ReceiveError> {
    let settings = receiver.settings();
    let (parts, mut body) = request.into_parts();
    let mut reservation = receiver.memory().reservation();
    let max = settings.max_body_bytes + PREFIX_BYTES;
    let body = body::read(&mut body, max, settings, &mut reservation).await?;
    let (bytes, is_compressed) = message(body)?;
    let compression = if is_compressed {
        body::compression(&parts.headers, "grpc-encoding")?
    } else {
        Compression::Identity
    };
    let content = Content {
        bytes,
        compression,
        encoding: Encoding::Protobuf,
        connection: ConnectionTurn::of(&parts.extensions),
    };
    Ok(content.accept(receiver, reservation).await?.response())
}

/// The one message of a unary call, and whether it is compressed.
fn message(mut body: Bytes) -> Result<(Bytes, bool), ReceiveError> {
    if body.len() < PREFIX_BYTES {
        return Err(ReceiveError::Framing);
    }
    let flag = body.get_u8();
    let length = body.get_u32();
    if flag > 1 || usize::try_from(length) != Ok(body.len()) {
        return Err(ReceiveError::Framing);
    }
    Ok((body, flag == 1))
}

fn status(error: &ReceiveError) -> Status {
    let (reason, message) = (error.reason(), error.to_string());
    let code = match reason {
        RefusalReason::BadData if matches!(error, ReceiveError::Framing) => Code::Internal,
        RefusalReason::BadData => Code::InvalidArgument,
        RefusalReason::UnsupportedType => Code::Unimplemented,
        // OTLP retries on OUT_OF_RANGE, which does not help with a body that is too large.
        RefusalReason::TooLarge | RefusalReason::Overloaded => Code::ResourceExhausted,
        RefusalReason::TimedOut => Code::DeadlineExceeded,
        RefusalReason::Aborted => Code::Cancelled,
        RefusalReason::ShuttingDown => Code::Unavailable,
        RefusalReason::InternalError => Code::Internal,
    };
    match reason.is_temporary() {
        true => status::retry_later(code, &message),
        false => Status::new(code, message),
    }
}

/// The response of a call that succeeded.
pub(super) fn respond(reply: &[u8]) -> http::Response<tonic::body::Body> {
    let mut frame = BytesMut::with_capacity(PREFIX_BYTES + reply.len());
    frame.put_u8(0);
    frame.put_u32(u32::try_from(reply.len()).unwrap_or(u32::MAX));
    frame.put_slice(reply);
    let ok = HeaderValue::from(Code::Ok as i32);
    // A status in the headers would end the call without a message.
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
