//! Calls to the API server with a deadline.

use std::time::Duration;

use kube::core::Status;

/// The deadline of one call to the API server.
pub const CALL_DEADLINE: Duration = Duration::from_secs(10);

/// The reason why a call to the API server failed.
#[derive(Debug, thiserror::Error)]
pub enum ApiServerError {
    /// The API server refused, or could not be reached.
    #[error("the call to the API server failed")]
    Failed(#[source] Box<kube::Error>),
    /// The API server did not respond in time.
    #[error("the API server did not respond within {0:?}")]
    DeadlineExceeded(Duration),
}

impl ApiServerError {
    /// The API server's response, if there was one.
    fn response(&self) -> Option<&Status> {
        match self {
            Self::Failed(error) => match &**error {
                kube::Error::Api(status) => Some(status),
                _ => None,
            },
            Self::DeadlineExceeded(_) => None,
        }
    }

    /// The HTTP status of the API server's response, if there was one.
    #[must_use]
    pub fn code(&self) -> Option<u16> {
        self.response().map(|status| status.code)
    }

    /// The message in the API server's response, if there was one.
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        self.response().map(|status| status.message.as_str())
    }

    /// Returns true if the object does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.code() == Some(404)
    }

    /// Returns true if another client changed the object first.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        self.code() == Some(409)
    }
}

/// Makes a call with a deadline.
///
/// # Errors
/// The call failed, or took longer than the deadline.
pub async fn with_deadline<T>(
    deadline: Duration,
    call: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, ApiServerError> {
    match tokio::time::timeout(deadline, call).await {
        Ok(response) => response.map_err(|error| ApiServerError::Failed(Box::new(error))),
        Err(_) => Err(ApiServerError::DeadlineExceeded(deadline)),
    }
}
