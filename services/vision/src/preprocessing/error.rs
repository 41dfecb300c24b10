//! The errors of a classification, as error responses.

use std::{error::Error, sync::Arc};

use http::StatusCode;
use spoor_telemetry::http::Problem;
use tonic::{Code, Status};

use super::{form::InvalidForm, picture::InvalidPicture, upload::UploadError};
use crate::{
    input::InvalidInput,
    workers::{JobLost, QueueFull},
};

/// The error of a classification.
#[derive(Debug, thiserror::Error)]
pub(super) enum RequestError {
    #[error(transparent)]
    Upload(#[from] UploadError),
    #[error(transparent)]
    Form(#[from] InvalidForm),
    #[error(transparent)]
    Picture(#[from] InvalidPicture),
    #[error(transparent)]
    QueueFull(#[from] QueueFull),
    #[error("{0}; try again in a moment")]
    Busy(String),
    #[error("no model can be reached: {0}; try again in a moment")]
    Unavailable(String),
    #[error("the picture took too long to classify")]
    TimedOut,
    /// A model's input changed again after its description was refreshed.
    #[error("the models' inputs differ from their descriptions: {0}; try again in a moment")]
    OtherInput(String),
    #[error("the models failed: {0}")]
    Failed(String),
    #[error("a model described an invalid input: {0}")]
    Input(#[from] InvalidInput),
    #[error("processing the picture was aborted")]
    Lost(#[from] JobLost),
    /// The error of a query for which several requests waited.
    #[error(transparent)]
    Shared(Arc<RequestError>),
}

impl RequestError {
    fn status(&self) -> StatusCode {
        match self {
            Self::Upload(UploadError::TooLong)
            | Self::Picture(
                InvalidPicture::TooLarge { .. } | InvalidPicture::TooMuchMemory { .. },
            ) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Upload(UploadError::Timeout) => StatusCode::REQUEST_TIMEOUT,
            Self::Upload(UploadError::Incomplete(_))
            | Self::Form(_)
            | Self::Picture(InvalidPicture::Empty) => StatusCode::BAD_REQUEST,
            Self::Picture(InvalidPicture::Format(_)) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Picture(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Upload(UploadError::NoMemory) | Self::QueueFull(_) | Self::Busy(_) => {
                StatusCode::TOO_MANY_REQUESTS
            }
            Self::Unavailable(_) | Self::OtherInput(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::TimedOut => StatusCode::GATEWAY_TIMEOUT,
            Self::Failed(_) | Self::Input(_) | Self::Lost(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Shared(failure) => failure.status(),
        }
    }
}

impl From<Status> for RequestError {
    fn from(status: Status) -> Self {
        let message = status.message().to_owned();
        match status.code() {
            Code::ResourceExhausted => Self::Busy(message),
            Code::FailedPrecondition => Self::OtherInput(message),
            Code::Unavailable => Self::Unavailable(message),
            Code::DeadlineExceeded | Code::Cancelled => Self::TimedOut,
            _ => Self::Failed(message),
        }
    }
}

impl From<RequestError> for Problem {
    fn from(failure: RequestError) -> Self {
        let status = failure.status();
        // Client errors need no action here, and any client can cause many of them.
        if status.is_server_error() {
            tracing::error!(error = &failure as &dyn Error, "classification failed");
        } else {
            tracing::debug!(error = &failure as &dyn Error, "picture refused");
        }
        Self::new(status, failure.to_string())
    }
}
