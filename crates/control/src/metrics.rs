//! What is counted about the control plane itself.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use parking_lot::Mutex;
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

/// The most reasons for refusals that are told apart; clients write them.
const MAX_REASONS: usize = 16;
const MAX_REASON_LEN: usize = 40;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct At {
    door: Door,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusedAt {
    door: Door,
    reason: &'static str,
}

/// Where callers come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum Door {
    /// Spoor's own stream.
    Stream,
    /// Jaeger's remote sampling over HTTP.
    Http,
    /// The same over gRPC.
    Grpc,
    /// Metrics of unmodified SDKs.
    Metrics,
}

/// Counters and their like; clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    pub(crate) subscribers: Gauge,
    pub(crate) publications: Counter,
    pub(crate) pushes: Counter,
    pub(crate) acknowledgements: Counter,
    pub(crate) reports: Counter,
    pub(crate) metrics_requests: Counter,
    propagation: Histogram,
    refusals: Family<Reason, Counter>,
    rejected: Family<Reason, Counter>,
    refused: Family<RefusedAt, Counter>,
    polls: Family<At, Counter>,
    known_reasons: Arc<Mutex<BTreeSet<String>>>,
}

impl Default for Metrics {
    fn default() -> Self {
        let buckets = [
            0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
        ];
        Self {
            subscribers: Gauge::default(),
            publications: Counter::default(),
            pushes: Counter::default(),
            acknowledgements: Counter::default(),
            reports: Counter::default(),
            metrics_requests: Counter::default(),
            propagation: Histogram::new(buckets),
            refusals: Family::default(),
            rejected: Family::default(),
            refused: Family::default(),
            polls: Family::default(),
            known_reasons: Arc::default(),
        }
    }
}

impl Metrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("spoor_control");
        registry.register(
            "subscribers",
            "Open policy streams",
            self.subscribers.clone(),
        );
        registry.register(
            "publications",
            "Versions of the table published",
            self.publications.clone(),
        );
        registry.register("pushes", "Plans sent over streams", self.pushes.clone());
        registry.register(
            "acknowledgements",
            "Plans that instances took",
            self.acknowledgements.clone(),
        );
        registry.register(
            "refusals",
            "Plans that instances did not take, by their reason",
            self.refusals.clone(),
        );
        registry.register(
            "reports",
            "Reports taken from instances",
            self.reports.clone(),
        );
        registry.register(
            "metrics_requests",
            "OTLP requests with metrics taken",
            self.metrics_requests.clone(),
        );
        registry.register(
            "rejected_messages",
            "Reports and acknowledgements not believed, by reason",
            self.rejected.clone(),
        );
        registry.register(
            "refused",
            "Callers not let in, by door and reason",
            self.refused.clone(),
        );
        registry.register(
            "polls",
            "Answers given to stock clients, by door",
            self.polls.clone(),
        );
        registry.register_with_unit(
            "propagation",
            "From a plan's publication to an instance's acknowledgement",
            Unit::Seconds,
            self.propagation.clone(),
        );
    }

    pub(crate) fn propagated(&self, took: Duration) {
        self.propagation.observe(took.as_secs_f64());
    }

    pub(crate) fn plan_refused(&self, reason: &str) {
        let reason = self.bounded(reason);
        self.refusals.get_or_create(&Reason { reason }).inc();
    }

    pub(crate) fn rejected(&self, reason: &str) {
        let reason = reason.to_owned();
        self.rejected.get_or_create(&Reason { reason }).inc();
    }

    pub(crate) fn refused(&self, door: Door, reason: &'static str) {
        self.refused
            .get_or_create(&RefusedAt { door, reason })
            .inc();
    }

    pub(crate) fn polled(&self, door: Door) {
        self.polls.get_or_create(&At { door }).inc();
    }

    /// The reason if it is a word and one of the first few, otherwise `Other`.
    fn bounded(&self, reason: &str) -> String {
        let is_word = (1..=MAX_REASON_LEN).contains(&reason.len())
            && reason.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let mut known = self.known_reasons.lock();
        if known.contains(reason) {
            return reason.to_owned();
        }
        if !is_word || known.len() >= MAX_REASONS {
            return "Other".to_owned();
        }
        known.insert(reason.to_owned());
        reason.to_owned()
    }
}
