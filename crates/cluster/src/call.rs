//! Calls to the API server, and the meaning of their errors.

use std::time::Duration;

use kube::core::Status;
use spoor_console::BackendError;
use spoor_runtime::with_causes;

use crate::managers;

/// The deadline of one call to the API server.
pub(crate) const CALL_DEADLINE: Duration = Duration::from_secs(10);

/// The reason why a call to the API server failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// The API server refused, or could not be reached.
    #[error("the call to the API server failed")]
    Failed(#[source] Box<kube::Error>),
    /// The API server did not respond in time.
    #[error("the API server did not respond within {CALL_DEADLINE:?}")]
    DeadlineExceeded,
}

impl CallError {
    /// The API server's response, if there was one.
    pub(crate) fn response(&self) -> Option<&Status> {
        match self {
            Self::Failed(error) => match &**error {
                kube::Error::Api(status) => Some(status),
                _ => None,
            },
            Self::DeadlineExceeded => None,
        }
    }

    /// The HTTP status of the API server's response, if there was one.
    pub(crate) fn code(&self) -> Option<u16> {
        self.response().map(|status| status.code)
    }
}

impl From<CallError> for BackendError {
    fn from(error: CallError) -> Self {
        match error.response() {
            Some(status) => refusal(status),
            None => Self::Reach(format!(
                "cannot reach the cluster; check the connection: {}",
                with_causes(&error)
            )),
        }
    }
}

/// Makes a call with a deadline.
pub(crate) async fn call<T>(
    call: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, CallError> {
    match tokio::time::timeout(CALL_DEADLINE, call).await {
        Ok(response) => response.map_err(|error| CallError::Failed(Box::new(error))),
        Err(_) => Err(CallError::DeadlineExceeded),
    }
}

/// The error for a response that is not a success. It keeps Kubernetes' own words.
fn refusal(status: &Status) -> BackendError {
    let message = status.message.clone();
    match status.code {
        400 | 422 => BackendError::Validate(vec![message]),
        404 => BackendError::Find(message),
        409 => BackendError::Conflict(managers::conflict(status).unwrap_or(message)),
        413 => BackendError::TooLarge(message),
        // The API server is busy, or a list of several pages has become too old.
        410 | 429 | 500.. => BackendError::Reach(format!("{message}; try again")),
        _ => BackendError::Refuse(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case(403, "policies is forbidden")]
    #[case(401, "Unauthorized")]
    fn missing_rights_keep_the_reason(#[case] code: u16, #[case] message: &str) {
        let error = refusal(&Status::failure(message, "").with_code(code));
        assert!(
            matches!(&error, BackendError::Refuse(reason) if reason == message),
            "{error:?}"
        );
    }

    #[test]
    fn busy_server_is_not_a_refusal() {
        let error = refusal(&Status::failure("too many requests", "").with_code(429));
        assert!(matches!(error, BackendError::Reach(_)), "{error:?}");
    }
}
