//! The reasons why a client's message is not applied.

use prometheus_client::encoding::EncodeLabelValue;
use tonic::Status;

/// The reason why a message is not applied, and its metric label. [`Self::TooManyCounts`] affects
/// only the counts of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue, thiserror::Error)]
pub(crate) enum Rejection {
    #[error("message cannot be decoded")]
    Unreadable,
    /// There was no room for it, or it took too long.
    #[error("message did not arrive in full")]
    Incomplete,
    #[error("version missing")]
    NoVersion,
    #[error("version was never sent to this process")]
    NeverSent,
    #[error("operation is not in the plan")]
    UnknownOperation,
    #[error("more traces sampled than started")]
    SampledOverStarted,
    #[error("count is smaller than in the last report")]
    Decreased,
    #[error("more decisions than one process can make")]
    Implausible,
    /// Even the counts under the newest plan do not fit. The next report has them again,
    /// since counts are cumulative.
    #[error("the counts of all processes take too much room; name fewer operations in policies")]
    TooManyCounts,
    #[error("policy is not in the rules of this version")]
    UnknownPolicy,
    #[error("rule is not in the policy")]
    UnknownRule,
    #[error("policy or rule counted twice")]
    CountedTwice,
    #[error("more traces kept than decided")]
    KeptOverDecided,
    #[error("rules and unmatched traces do not add up to the traces decided")]
    SumMismatch,
}

/// The reason why a message was not applied.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MessageError {
    /// The message is counted as rejected, and the stream goes on.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The stream ends.
    #[error(transparent)]
    StreamEnded(#[from] Status),
}
