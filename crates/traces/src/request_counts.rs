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
    /// Too many bytes or bodies are being received at the same time, too many traces wait for their
    /// tail decision, too many spans wait to be sent or for another sampler, or the journal has no
    /// room.
    Overloaded,
    /// The receiver is shutting down, or the sampler accepts no spans at present.
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

    /// Adds the counts, with names that begin with the prefix.
    pub(crate) fn register(&self, registry: &mut Registry, prefix: &str) {
        let name = format!("{prefix}_requests_refused");
        let help = "Export requests refused as a whole, by reason";
        registry.register(name, help, self.refused.clone());
        let name = format!("{prefix}_requests_discarded");
        let help = "Requests with other signals, accepted and discarded";
        registry.register(name, help, self.discarded.clone());
    }
}
