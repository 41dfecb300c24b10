//! The decision whether to retry a failed request.

use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::budget::Budget;

/// The most attempts after the first.
pub(super) const MAX_RETRIES: u32 = 2;

/// The most characters kept of a marketplace's error message, which pages and logs show.
const MAX_MESSAGE_CHARS: usize = 200;

/// A failed attempt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code:?}: {message}")]
pub(super) struct AttemptError {
    code: Code,
    message: String,
    /// The delay that the marketplace requests.
    pub(super) retry_delay: Option<Duration>,
}

/// The error of a search.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SearchError {
    #[error("the circuit breaker is open for another {:.1} s; last failure: {last}", .wait.as_secs_f64())]
    BreakerOpen { wait: Duration, last: String },
    #[error("failed after {MAX_RETRIES} retries: {0}")]
    Failed(#[source] AttemptError),
    #[error("request refused: {0}")]
    NotRetryable(#[source] AttemptError),
    #[error("no time left for another attempt: {0}")]
    NoTime(#[source] AttemptError),
    #[error("the retry budget is spent: {0}")]
    NoBudget(#[source] AttemptError),
    #[error("offers is stopping: {0}")]
    Stopping(#[source] AttemptError),
}

/// Returns the delay before the next attempt: the one that the marketplace requests, but at least
/// `backoff`. `left` is the time until the deadline, and `open` the time until the circuit breaker
/// permits requests.
pub(super) fn after(
    failure: AttemptError,
    retries: u32,
    backoff: Duration,
    left: Duration,
    open: Duration,
    budget: &mut Budget,
) -> Result<Duration, SearchError> {
    if !failure.is_retryable() {
        return Err(SearchError::NotRetryable(failure));
    }
    if retries >= MAX_RETRIES {
        return Err(SearchError::Failed(failure));
    }
    let wait = failure.retry_delay.unwrap_or_default().max(backoff);
    if wait >= left {
        return Err(SearchError::NoTime(failure));
    }
    // Before the budget, since a retry that the breaker would refuse must not use a token.
    if wait < open {
        let last = failure.to_string();
        return Err(SearchError::BreakerOpen { wait: open, last });
    }
    if !budget.withdraw() {
        return Err(SearchError::NoBudget(failure));
    }
    Ok(wait)
}

impl AttemptError {
    /// Converts the status of a failed call.
    pub(super) fn of(status: &Status) -> Self {
        let retry_delay = status.get_details_retry_info();
        Self {
            code: status.code(),
            message: status.message().chars().take(MAX_MESSAGE_CHARS).collect(),
            retry_delay: retry_delay.and_then(|info| info.retry_delay),
        }
    }

    /// True if the failure shows that the marketplace is unhealthy. A rate limit does not.
    pub(super) fn is_peer_failure(&self) -> bool {
        matches!(
            self.code,
            Code::Unavailable
                | Code::DeadlineExceeded
                | Code::Cancelled
                | Code::Internal
                // The status that gRPC assigns to a proxy's error, or to a crash of the server.
                | Code::Unknown
                | Code::DataLoss
        )
    }

    /// True if another attempt may succeed.
    fn is_retryable(&self) -> bool {
        // The gRPC specification recommends that clients retry at a higher level after ABORTED.
        self.is_peer_failure() || matches!(self.code, Code::ResourceExhausted | Code::Aborted)
    }
}

impl SearchError {
    /// The outcome in metrics and spans.
    pub(super) fn outcome(&self) -> &'static str {
        match self {
            Self::BreakerOpen { .. } => "refused_by_breaker",
            Self::Failed(_) => "failed",
            Self::NotRetryable(_) => "refused",
            Self::NoTime(_) => "no_time",
            Self::NoBudget(_) => "no_budget",
            Self::Stopping(_) => "stopping",
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tonic_types::ErrorDetails;

    use super::*;

    const BACKOFF: Duration = Duration::from_millis(50);
    const LEFT: Duration = Duration::from_secs(2);
    const CLOSED: Duration = Duration::ZERO;

    fn failure(code: Code) -> AttemptError {
        AttemptError::of(&Status::new(code, "why"))
    }

    fn limited(millis: u64) -> AttemptError {
        let retry_delay = Some(Duration::from_millis(millis));
        let details = ErrorDetails::with_retry_info(retry_delay);
        AttemptError::of(&Status::with_error_details(
            Code::ResourceExhausted,
            "slowly",
            details,
        ))
    }

    #[rstest::rstest]
    #[case(failure(Code::Unavailable), 0, Ok(50))]
    #[case(failure(Code::Internal), 1, Ok(50))]
    #[case(failure(Code::DeadlineExceeded), 0, Ok(50))]
    #[case(failure(Code::Unavailable), MAX_RETRIES, Err("failed"))]
    #[case(failure(Code::InvalidArgument), 0, Err("refused"))]
    #[case(failure(Code::Unimplemented), 0, Err("refused"))]
    #[case(failure(Code::ResourceExhausted), 0, Ok(50))]
    #[case(limited(20), 0, Ok(50))]
    #[case(limited(400), 0, Ok(400))]
    #[case(limited(2000), 0, Err("no_time"))]
    fn retries_as_the_failure_permits(
        #[case] failure: AttemptError,
        #[case] retries: u32,
        #[case] expected: Result<u64, &str>,
    ) {
        let mut budget = Budget::full();
        let decided = after(failure, retries, BACKOFF, LEFT, CLOSED, &mut budget);
        let decided = decided.map_err(|error| error.outcome());
        assert_eq!(decided, expected.map(Duration::from_millis));
        assert_eq!(decided.is_err(), budget == Budget::full());
    }

    #[test]
    fn without_a_budget_there_is_no_retry() {
        let mut budget = Budget::full();
        while budget.withdraw() {}
        let failure = failure(Code::Unavailable);
        let decided = after(failure, 0, BACKOFF, LEFT, CLOSED, &mut budget);
        assert_eq!(decided.unwrap_err().outcome(), "no_budget");
    }

    #[rstest::rstest]
    #[case(BACKOFF, Ok(50))]
    #[case(BACKOFF + Duration::from_millis(1), Err("refused_by_breaker"))]
    fn retry_refused_by_breaker_keeps_the_budget(
        #[case] open: Duration,
        #[case] expected: Result<u64, &str>,
    ) {
        let mut budget = Budget::full();
        let failure = failure(Code::Unavailable);
        let decided = after(failure, 0, BACKOFF, LEFT, open, &mut budget);
        let decided = decided.map_err(|error| error.outcome());
        assert_eq!(decided, expected.map(Duration::from_millis));
        assert_eq!(decided.is_err(), budget == Budget::full());
    }

    #[rstest::rstest]
    #[case(Code::ResourceExhausted, false)]
    #[case(Code::InvalidArgument, false)]
    #[case(Code::Unavailable, true)]
    #[case(Code::Unknown, true)]
    fn a_rate_limit_is_not_a_peer_failure(#[case] code: Code, #[case] peer_failure: bool) {
        assert_eq!(failure(code).is_peer_failure(), peer_failure);
    }

    #[test]
    fn long_messages_are_cut() {
        let failure = AttemptError::of(&Status::unavailable("x".repeat(100_000)));
        assert_eq!(failure.message.len(), MAX_MESSAGE_CHARS);
    }
}
