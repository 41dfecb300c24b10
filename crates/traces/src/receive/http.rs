//! OTLP over HTTP.

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{
        self, HeaderMap, HeaderValue, Method, StatusCode, Uri,
        header::{self, ACCEPT_ENCODING, ALLOW, CONTENT_TYPE, EXPECT},
    },
    response::{IntoResponse, Response},
    routing::post,
};
use spoor_runtime::{ACCEPTED_ENCODINGS, ConnectionTurn};
use tonic::Code;

use super::{
    body,
    content::Content,
    error::ReceiveError,
    status::{Encoding, PartialSuccess, RETRY_AFTER},
};
use crate::{receiver::Receiver, request_counts::RefusalReason};

/// The response to `GET /`, for people who open the address in a browser.
const ABOUT: &str = "OTLP over HTTP: POST spans to /v1/traces, as protobuf or JSON\n";

/// `POST /v1/traces`.
pub(super) fn routes() -> Router<Receiver> {
    Router::new().route("/v1/traces", post(traces).fallback(method_not_allowed))
}

async fn traces(State(receiver): State<Receiver>, request: Request) -> Response {
    let encoding = encoding(request.headers());
    // A sender of an unknown type gets JSON, which people can read.
    let response_encoding = *encoding.as_ref().unwrap_or(&Encoding::Json);
    let (parts, mut body) = request.into_parts();
    let result = match encoding {
        Ok(encoding) => accept(&receiver, encoding, &parts, &mut body).await,
        Err(error) => Err(error),
    };
    match result {
        Ok(partial) => accepted(response_encoding, &partial),
        Err(error) => {
            let reason = error.reason();
            let (code, rpc_code) = codes(reason);
            receiver.request_counts().count_refused(reason);
            // A sender that expects `100 Continue` has not sent the body.
            let is_sending = !parts.headers.contains_key(EXPECT);
            if is_sending && !http_body::Body::is_end_stream(&body) {
                tokio::spawn(body::drain_rest(body, receiver.settings().clone()));
            }
            let mut response = refuse(code, response_encoding, rpc_code, error.to_string());
            // Exporters wait for the time in this header, or else for their default.
            if reason.is_temporary() {
                let seconds = HeaderValue::from(RETRY_AFTER.as_secs());
                response.headers_mut().insert(header::RETRY_AFTER, seconds);
            }
            if matches!(error, ReceiveError::Compression { .. }) {
                let accepted = HeaderValue::from_static(ACCEPTED_ENCODINGS);
                response.headers_mut().insert(ACCEPT_ENCODING, accepted);
            }
            response
        }
    }
}

async fn accept(
    receiver: &Receiver,
    encoding: Encoding,
    head: &http::request::Parts,
    body: &mut Body,
) -> Result<PartialSuccess, ReceiveError> {
    let compression = body::compression(&head.headers, "Content-Encoding")?;
    if receiver.is_closed() {
        return Err(ReceiveError::Closed);
    }
    let settings = receiver.settings();
    let mut reservation = receiver.memory().reservation();
    let bytes = body::read(body, settings.max_body_bytes, settings, &mut reservation).await?;
    let content = Content {
        bytes,
        compression,
        encoding,
        connection: ConnectionTurn::of(&head.extensions),
    };
    content.accept(receiver, reservation).await
}

pub(super) fn encoding(headers: &HeaderMap) -> Result<Encoding, ReceiveError> {
    let text = headers.get(CONTENT_TYPE);
    let text = text.map_or(&b""[..], HeaderValue::as_bytes);
    // Parameters such as a charset are ignored.
    let essence = text.split(|byte| *byte == b';').next();
    let essence = essence.unwrap_or_default().trim_ascii();
    if essence.eq_ignore_ascii_case(Encoding::Protobuf.content_type().as_bytes()) {
        Ok(Encoding::Protobuf)
    } else if essence.eq_ignore_ascii_case(Encoding::Json.content_type().as_bytes()) {
        Ok(Encoding::Json)
    } else {
        Err(ReceiveError::ContentType(
            String::from_utf8_lossy(text).into_owned(),
        ))
    }
}

fn codes(reason: RefusalReason) -> (StatusCode, Code) {
    match reason {
        RefusalReason::BadData => (StatusCode::BAD_REQUEST, Code::InvalidArgument),
        RefusalReason::UnsupportedType => {
            (StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::InvalidArgument)
        }
        RefusalReason::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, Code::InvalidArgument),
        RefusalReason::TimedOut => (StatusCode::REQUEST_TIMEOUT, Code::DeadlineExceeded),
        RefusalReason::Aborted => (StatusCode::BAD_REQUEST, Code::Cancelled),
        RefusalReason::Overloaded => (StatusCode::TOO_MANY_REQUESTS, Code::ResourceExhausted),
        RefusalReason::ShuttingDown => (StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable),
        RefusalReason::InternalError => (StatusCode::INTERNAL_SERVER_ERROR, Code::Internal),
    }
}

/// The response to an accepted request.
pub(super) fn accepted(encoding: Encoding, partial: &PartialSuccess) -> Response {
    respond(StatusCode::OK, encoding, encoding.response(partial))
}

fn respond(code: StatusCode, encoding: Encoding, body: Vec<u8>) -> Response {
    let content_type = HeaderValue::from_static(encoding.content_type());
    (code, [(CONTENT_TYPE, content_type)], body).into_response()
}

/// The response to a refused request.
pub(super) fn refuse(
    code: StatusCode,
    encoding: Encoding,
    rpc_code: Code,
    message: impl Into<String>,
) -> Response {
    respond(code, encoding, encoding.status(rpc_code, message.into()))
}

async fn method_not_allowed() -> Response {
    let (code, rpc_code) = (StatusCode::METHOD_NOT_ALLOWED, Code::Unimplemented);
    let message = "only POST is allowed here";
    let mut response = refuse(code, Encoding::Json, rpc_code, message);
    let allowed = HeaderValue::from_static("POST");
    response.headers_mut().insert(ALLOW, allowed);
    response
}

/// Responds on every other path.
pub(super) async fn not_found(method: Method, uri: Uri) -> Response {
    if method == Method::GET && uri.path() == "/" {
        return ABOUT.into_response();
    }
    let (code, rpc_code) = (StatusCode::NOT_FOUND, Code::NotFound);
    let message = "unknown path; send traces to /v1/traces";
    refuse(code, Encoding::Json, rpc_code, message)
}
