//! Answers in the forms that OTLP has for them.

use prost::Message;
use serde_json::json;

use super::RETRY_AFTER;

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct RpcStatus {
    #[prost(int32, tag = "1")]
    pub(super) code: i32,
    #[prost(string, tag = "2")]
    pub(super) message: String,
    #[prost(message, repeated, tag = "3")]
    pub(super) details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<Delay>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, Copy, PartialEq, Message)]
struct Delay {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

/// How a body is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Protobuf,
    Json,
}

impl Encoding {
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        }
    }

    /// The status in this encoding.
    pub(super) fn status(self, code: tonic::Code, message: String) -> Vec<u8> {
        let code = code as i32;
        match self {
            Self::Protobuf => RpcStatus {
                code,
                message,
                details: Vec::new(),
            }
            .encode_to_vec(),
            Self::Json => json!({ "code": code, "message": message })
                .to_string()
                .into_bytes(),
        }
    }

    /// An `ExportTraceServiceResponse` in this encoding.
    pub(super) fn response(self, rejected: u64) -> Vec<u8> {
        match self {
            Self::Protobuf => response(rejected),
            Self::Json if rejected == 0 => b"{}".to_vec(),
            Self::Json => {
                let partial = json!({
                    "rejectedSpans": rejected.to_string(),
                    "errorMessage": REJECTED,
                });
                json!({ "partialSuccess": partial })
                    .to_string()
                    .into_bytes()
            }
        }
    }
}

/// An encoded `ExportTraceServiceResponse`.
pub(super) fn response(rejected: u64) -> Vec<u8> {
    use opentelemetry_proto::tonic::collector::trace::v1::{
        ExportTracePartialSuccess, ExportTraceServiceResponse,
    };
    let partial = ExportTracePartialSuccess {
        rejected_spans: i64::try_from(rejected).unwrap_or(i64::MAX),
        error_message: REJECTED.to_owned(),
    };
    let partial_success = (rejected > 0).then_some(partial);
    ExportTraceServiceResponse { partial_success }.encode_to_vec()
}

const REJECTED: &str = "some spans have a trace id or span id that is all zero or has not 16 and \
                        8 bytes; they were dropped";

/// A gRPC status that asks the sender to try again later.
pub(super) fn retry_later(code: tonic::Code, message: &str) -> tonic::Status {
    let retry = RetryInfo {
        retry_delay: Some(Delay {
            seconds: RETRY_AFTER.as_secs().cast_signed(),
            nanos: RETRY_AFTER.subsec_nanos().cast_signed(),
        }),
    };
    let details = Any {
        type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(),
        value: retry.encode_to_vec(),
    };
    let status = RpcStatus {
        code: code as i32,
        message: message.to_owned(),
        details: vec![details],
    };
    tonic::Status::with_details(code, message, status.encode_to_vec().into())
}
