//! Responses in the encodings that OTLP defines.

use std::time::Duration;

use prost::Message;
use serde_json::json;
use tonic_types::{ErrorDetails, StatusExt, pb};

use crate::Rejected;

/// The time after which a refused sender should try again.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The encoding of a body.
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
            Self::Protobuf => pb::Status {
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
    pub(super) fn response(self, partial: &PartialSuccess) -> Vec<u8> {
        match self {
            Self::Protobuf => partial.response(),
            Self::Json if partial.is_complete() => b"{}".to_vec(),
            Self::Json => {
                let partial = json!({
                    // Protobuf's JSON mapping writes 64-bit integers as strings.
                    "rejectedSpans": partial.rejected.to_string(),
                    "errorMessage": partial.messages.join("; "),
                });
                json!({ "partialSuccess": partial })
                    .to_string()
                    .into_bytes()
            }
        }
    }
}

/// The messages in the response to an accepted request: OTLP's `partialSuccess`, which may contain
/// warnings without any span rejected.
#[derive(Debug, Default)]
pub(super) struct PartialSuccess {
    rejected: u64,
    pub(super) messages: Vec<String>,
}

impl PartialSuccess {
    pub(super) fn of(rejected: Rejected) -> Self {
        let oversized = rejected.first_oversized;
        let oversized = oversized.map_or_else(String::new, |reason| reason.to_string());
        // The names are those of OTLP/JSON, which people write by hand.
        let problems = [
            (
                rejected.trace_id,
                "traceId must be 16 bytes and not all zero",
            ),
            (rejected.span_id, "spanId must be 8 bytes and not all zero"),
            (
                rejected.parent_span_id,
                "parentSpanId must be 8 bytes or empty",
            ),
            (rejected.oversized, oversized.as_str()),
        ];
        let present = problems.into_iter().filter(|(spans, _)| *spans > 0);
        let message = |(spans, rule)| match spans {
            1 => format!("{rule} (1 span rejected)"),
            spans => format!("{rule} ({spans} spans rejected)"),
        };
        Self {
            rejected: rejected.total(),
            messages: present.map(message).collect(),
        }
    }

    fn is_complete(&self) -> bool {
        self.rejected == 0 && self.messages.is_empty()
    }

    /// The `ExportTraceServiceResponse`, encoded.
    pub(super) fn response(&self) -> Vec<u8> {
        use opentelemetry_proto::tonic::collector::trace::v1::{
            ExportTracePartialSuccess, ExportTraceServiceResponse,
        };
        let partial = || ExportTracePartialSuccess {
            rejected_spans: i64::try_from(self.rejected).unwrap_or(i64::MAX),
            error_message: self.messages.join("; "),
        };
        let partial_success = (!self.is_complete()).then(partial);
        ExportTraceServiceResponse { partial_success }.encode_to_vec()
    }
}

/// A gRPC status that makes the sender retry later.
pub(super) fn retry_later(code: tonic::Code, message: &str) -> tonic::Status {
    let details = ErrorDetails::with_retry_info(Some(RETRY_AFTER));
    tonic::Status::with_error_details(code, message, details)
}
