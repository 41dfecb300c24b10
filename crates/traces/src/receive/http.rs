//! OTLP over HTTP.

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{
        HeaderMap, HeaderValue, Method, StatusCode, Uri,
        header::{self, ACCEPT_ENCODING, ALLOW, CONTENT_ENCODING, CONTENT_TYPE, EXPECT},
    },
    response::{IntoResponse, Response},
    routing::post,
};
use spoor_runtime::{ACCEPTED_ENCODINGS, Compression, DecompressError};

use super::{
    body::{self, BodyError},
    json::{self, Ignored},
    status::{Encoding, PartialSuccess, RETRY_AFTER},
};
use crate::{InvalidRequest, OutOfMemory, Pipeline, ScanError, metrics::Refusal};

/// The response to a browser that opens the address.
const ABOUT: &str = "OTLP over HTTP: POST spans to /v1/traces, as protobuf or JSON\n";

/// `POST /v1/traces`.
pub(super) fn routes() -> Router<Pipeline> {
    Router::new().route("/v1/traces", post(traces).fallback(method_not_allowed))
}

/// Failure to take a request.
#[derive(Debug, thiserror::Error)]
pub(super) enum HttpError {
    #[error("Content-Type must be application/x-protobuf or application/json, not \"{0}\"")]
    ContentType(String),
    #[error("Content-Encoding must be one of {ACCEPTED_ENCODINGS} or identity, not \"{0}\"")]
    ContentEncoding(String),
    #[error("shutting down: try again later")]
    Closed,
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error("the body is no valid JSON of an ExportTraceServiceRequest: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the body takes more memory as JSON than there is: send smaller batches, or protobuf")]
    TooLargeAsJson,
    #[error(transparent)]
    Request(#[from] InvalidRequest),
}

async fn traces(State(pipeline): State<Pipeline>, request: Request) -> Response {
    let encoding = encoding(request.headers());
    let answer_in = *encoding.as_ref().unwrap_or(&Encoding::Json);
    let (parts, mut body) = request.into_parts();
    let taken = match encoding {
        Ok(encoding) => take(&pipeline, encoding, &parts.headers, &mut body).await,
        Err(error) => Err(error),
    };
    match taken {
        Ok(partial) => answer(StatusCode::OK, answer_in, answer_in.response(&partial)),
        Err(error) => {
            let (code, rpc_code, refusal) = error.kind();
            pipeline.refusals().count(refusal);
            // A sender that asked whether it may send the body has not sent it.
            let is_on_its_way = !parts.headers.contains_key(EXPECT);
            if is_on_its_way && !http_body::Body::is_end_stream(&body) {
                tokio::spawn(body::discard(body, pipeline.receive_settings().clone()));
            }
            let mut response = answer(
                code,
                answer_in,
                answer_in.status(rpc_code, error.to_string()),
            );
            if matches!(
                code,
                StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
            ) {
                let seconds = HeaderValue::from(RETRY_AFTER.as_secs());
                response.headers_mut().insert(header::RETRY_AFTER, seconds);
            }
            if matches!(error, HttpError::ContentEncoding(_)) {
                let accepted = HeaderValue::from_static(ACCEPTED_ENCODINGS);
                response.headers_mut().insert(ACCEPT_ENCODING, accepted);
            }
            response
        }
    }
}

async fn take(
    pipeline: &Pipeline,
    encoding: Encoding,
    headers: &HeaderMap,
    body: &mut Body,
) -> Result<PartialSuccess, HttpError> {
    let compression = compression(headers)?;
    if pipeline.is_closed() {
        return Err(HttpError::Closed);
    }
    let settings = pipeline.receive_settings();
    let mut share = pipeline.memory().share();
    let bytes = body::read(body, settings, &mut share).await?;
    let mut bytes = body::decompress(bytes, compression, settings, &mut share)?;
    let mut ignored = Ignored::default();
    if encoding == Encoding::Json {
        // The protobuf is at most as long as the JSON.
        share.grow(bytes.len()).map_err(|error| match error {
            OutOfMemory::RequestTooLarge => HttpError::TooLargeAsJson,
            OutOfMemory::Overloaded => BodyError::from(error).into(),
        })?;
        (bytes, ignored) = json::to_protobuf(&bytes)?;
    }
    let mut partial = PartialSuccess::of(pipeline.accept_within(&bytes, &mut share)?);
    partial.messages.extend(ignored.messages());
    Ok(partial)
}

pub(super) fn encoding(headers: &HeaderMap) -> Result<Encoding, HttpError> {
    let text = headers
        .get(CONTENT_TYPE)
        .map_or(&b""[..], HeaderValue::as_bytes);
    let essence = text
        .split(|byte| *byte == b';')
        .next()
        .unwrap_or_default()
        .trim_ascii();
    if essence.eq_ignore_ascii_case(Encoding::Protobuf.content_type().as_bytes()) {
        Ok(Encoding::Protobuf)
    } else if essence.eq_ignore_ascii_case(Encoding::Json.content_type().as_bytes()) {
        Ok(Encoding::Json)
    } else {
        Err(HttpError::ContentType(
            String::from_utf8_lossy(text).into_owned(),
        ))
    }
}

fn compression(headers: &HeaderMap) -> Result<Compression, HttpError> {
    let name = headers.get(CONTENT_ENCODING);
    let name = name.map_or(&b""[..], HeaderValue::as_bytes);
    Compression::named(name)
        .ok_or_else(|| HttpError::ContentEncoding(String::from_utf8_lossy(name).into_owned()))
}

impl From<ScanError> for HttpError {
    fn from(error: ScanError) -> Self {
        match error {
            ScanError::Invalid(error) => Self::Request(error),
            ScanError::OutOfMemory(error) => Self::Body(error.into()),
        }
    }
}

impl HttpError {
    fn kind(&self) -> (StatusCode, tonic::Code, Refusal) {
        use tonic::Code;
        match self {
            Self::ContentType(_) | Self::ContentEncoding(_) => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                Code::InvalidArgument,
                Refusal::UnsupportedType,
            ),
            Self::Closed => (
                StatusCode::SERVICE_UNAVAILABLE,
                Code::Unavailable,
                Refusal::ShuttingDown,
            ),
            Self::Json(_)
            | Self::Request(_)
            | Self::Body(BodyError::Compressed(DecompressError::Invalid(_))) => (
                StatusCode::BAD_REQUEST,
                Code::InvalidArgument,
                Refusal::BadData,
            ),
            Self::Body(BodyError::Aborted(_)) => {
                (StatusCode::BAD_REQUEST, Code::Cancelled, Refusal::Aborted)
            }
            Self::TooLargeAsJson
            | Self::Body(
                BodyError::TooLarge { .. }
                | BodyError::Compressed(DecompressError::TooLarge { .. })
                | BodyError::OutOfMemory(OutOfMemory::RequestTooLarge),
            ) => (
                StatusCode::PAYLOAD_TOO_LARGE,
                Code::InvalidArgument,
                Refusal::TooLarge,
            ),
            Self::Body(BodyError::TimedOut { .. }) => (
                StatusCode::REQUEST_TIMEOUT,
                Code::DeadlineExceeded,
                Refusal::TimedOut,
            ),
            Self::Body(BodyError::OutOfMemory(OutOfMemory::Overloaded)) => (
                StatusCode::TOO_MANY_REQUESTS,
                Code::ResourceExhausted,
                Refusal::Overloaded,
            ),
        }
    }
}

pub(super) fn answer(code: StatusCode, encoding: Encoding, body: Vec<u8>) -> Response {
    let content_type = HeaderValue::from_static(encoding.content_type());
    (code, [(CONTENT_TYPE, content_type)], body).into_response()
}

fn refusal(code: StatusCode, rpc_code: tonic::Code, message: &str) -> Response {
    let encoding = Encoding::Json;
    answer(
        code,
        encoding,
        encoding.status(rpc_code, message.to_owned()),
    )
}

async fn method_not_allowed() -> Response {
    let message = "only POST is allowed here";
    let mut response = refusal(
        StatusCode::METHOD_NOT_ALLOWED,
        tonic::Code::Unimplemented,
        message,
    );
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static("POST"));
    response
}

/// Answers for every path that is not one of the receiver's.
pub(super) async fn elsewhere(method: Method, uri: Uri) -> Response {
    if method == Method::GET && uri.path() == "/" {
        return ABOUT.into_response();
    }
    refusal(
        StatusCode::NOT_FOUND,
        tonic::Code::NotFound,
        "traces are received at /v1/traces",
    )
}
