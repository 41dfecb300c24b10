//! Counts of the requests from which no span is accepted.

use prometheus_client::{
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

/// The reason why a request was refused as a whole. The number of its spans is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, derive_more::Display)]
#[display(rename_all = "snake_case")]
pub(crate) enum RefusalReason {
    /// The body cannot be decoded or decompressed.
    BadData,
    /// The body is neither protobuf nor JSON, or its compression is unknown.
    UnsupportedType,
    /// The body is larger than allowed, before or after decompression, or takes more memory than
    /// one request may use.
    TooLarge,
    /// The sender took too long.
    TimedOut,
    /// The sender aborted the request.
    Aborted,
    /// Too many bytes or bodies are being received at the same time, or too many traces wait for
    /// their tail decision.
    Overloaded,
    /// The pipeline is shutting down.
    ShuttingDown,
    /// Reading the body failed because of a bug, so it would fail again.
    InternalError,
}

impl RefusalReason {
    /// Returns whether the response asks the sender to try again later.
    pub(crate) fn is_temporary(self) -> bool {
        matches!(self, Self::Overloaded | Self::ShuttingDown)
    }
}

/// A signal other than traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, derive_more::Display)]
#[display(rename_all = "lowercase")]
pub(crate) enum Signal {
    Metrics,
    Logs,
    Profiles,
}

/// Requests from which no span was accepted, by one label.
type Requests = Family<[(&'static str, String); 1], Counter>;

/// Counts the requests from which no span is accepted.
#[derive(Debug, Default)]
pub(crate) struct RequestCounts {
    refused: Requests,
    discarded: Requests,
}

impl RequestCounts {
    pub(crate) fn count_refused(&self, reason: RefusalReason) {
        let labels = [("reason", reason.to_string())];
        self.refused.get_or_create(&labels).inc();
    }

    pub(crate) fn count_discarded(&self, signal: Signal) {
        let labels = [("signal", signal.to_string())];
        self.discarded.get_or_create(&labels).inc();
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        let help = "Export requests refused as a whole, by reason";
        registry.register("spoor_traces_requests_refused", help, self.refused.clone());
        let name = "spoor_traces_requests_discarded";
        let help = "Requests with other signals, accepted and discarded";
        registry.register(name, help, self.discarded.clone());
    }
}
