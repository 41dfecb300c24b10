//! Failures to accept a request.

use std::time::Duration;

use spoor_runtime::{ACCEPTED_ENCODINGS, DecompressError};

use crate::{
    InvalidRequest, OutOfMemory, ScanError, receiver::AcceptError, request_counts::RefusalReason,
};

/// Failure to accept a request, over HTTP or gRPC.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReceiveError {
    #[error("the receiver is shutting down; try again later")]
    Closed,
    #[error("an internal error occurred while the body was read")]
    Internal,
    #[error("Content-Type must be application/x-protobuf or application/json, not \"{0}\"")]
    ContentType(String),
    #[error("{header} must be one of {ACCEPTED_ENCODINGS} or identity, not \"{name}\"")]
    Compression { header: &'static str, name: String },
    #[error("the body is larger than {max} bytes; send smaller batches")]
    TooLarge { max: usize },
    #[error("the body was not received within {} s; send smaller batches", after.as_secs_f64())]
    TimedOut { after: Duration },
    #[error("the sender aborted the request: {0}")]
    Aborted(axum::Error),
    #[error(transparent)]
    Compressed(#[from] DecompressError),
    #[error(transparent)]
    OutOfMemory(#[from] OutOfMemory),
    #[error("too many bodies are being read at the same time; try again later")]
    Busy,
    #[error("the sender disconnected")]
    Disconnected,
    #[error("the body is not exactly one gRPC message")]
    Framing,
    #[error("the body is not a valid ExportTraceServiceRequest in JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the body takes too much memory as JSON; send smaller batches, or protobuf")]
    TooLargeAsJson,
    #[error(transparent)]
    Request(#[from] InvalidRequest),
    #[error(transparent)]
    NotAccepted(AcceptError),
}

impl From<AcceptError> for ReceiveError {
    fn from(error: AcceptError) -> Self {
        match error {
            AcceptError::Scan(ScanError::Invalid(error)) => Self::Request(error),
            AcceptError::Scan(ScanError::OutOfMemory(error)) => Self::OutOfMemory(error),
            error => Self::NotAccepted(error),
        }
    }
}

impl ReceiveError {
    /// The reason under which the refusal is counted. It also determines the status, except for
    /// `Framing`.
    pub(super) fn reason(&self) -> RefusalReason {
        match self {
            Self::Closed | Self::NotAccepted(AcceptError::NotServing) => {
                RefusalReason::ShuttingDown
            }
            Self::Internal => RefusalReason::InternalError,
            Self::ContentType(_) | Self::Compression { .. } => RefusalReason::UnsupportedType,
            Self::TooLarge { .. }
            | Self::TooLargeAsJson
            | Self::Compressed(DecompressError::TooLarge { .. })
            | Self::OutOfMemory(OutOfMemory::RequestTooLarge)
            | Self::NotAccepted(AcceptError::TooLargeForJournal) => RefusalReason::TooLarge,
            Self::TimedOut { .. } => RefusalReason::TimedOut,
            Self::Aborted(_) | Self::Disconnected => RefusalReason::Aborted,
            Self::Busy
            | Self::OutOfMemory(OutOfMemory::Overloaded | OutOfMemory::TooManyWaiting)
            | Self::NotAccepted(
                AcceptError::OutputFull | AcceptError::Journal | AcceptError::PeerFull,
            ) => RefusalReason::Overloaded,
            Self::Compressed(DecompressError::Invalid(_))
            | Self::Framing
            | Self::Json(_)
            | Self::Request(_)
            | Self::NotAccepted(AcceptError::Scan(_)) => RefusalReason::BadData,
        }
    }
}
