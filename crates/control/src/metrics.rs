//! The control plane's own metrics.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use parking_lot::Mutex;
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use crate::rejection::Rejection;

/// The most reasons for refused plans and tail rules that get a label of their own. Clients choose
/// the reasons, so the number of series must be bounded.
const MAX_REASONS: usize = 16;

/// The longest reason that gets a label of its own, in bytes.
const MAX_REASON_BYTES: usize = 40;

/// A set of one label.
type Label<T> = [(&'static str, T); 1];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusalLabels {
    endpoint: Endpoint,
    reason: &'static str,
}

/// An endpoint for clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum Endpoint {
    /// Spoor's policy stream.
    Stream,
    /// Jaeger's remote sampling over HTTP.
    Http,
    /// Jaeger's remote sampling over gRPC.
    Grpc,
    /// Metrics of unmodified SDKs.
    Metrics,
    /// The stream of tail rules to samplers.
    TailRuleStream,
}

/// The metrics. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) subscribers: Gauge,
    pub(crate) publications: Counter,
    pub(crate) pushes: Counter,
    pub(crate) acknowledgements: Counter,
    pub(crate) reports: Counter,
    pub(crate) metrics_requests: Counter,
    pub(crate) samplers: SamplerMetrics,
    propagation: Propagation,
    refusals: Family<Label<String>, Counter>,
    rejected: Family<Label<Rejection>, Counter>,
    refused: Family<RefusalLabels, Counter>,
    polls: Family<Label<Endpoint>, Counter>,
    known_reasons: Arc<Mutex<BTreeSet<String>>>,
}

/// The metrics of the stream of tail rules.
#[derive(Clone, Debug, Default)]
pub(crate) struct SamplerMetrics {
    pub(crate) connected: Gauge,
    pub(crate) pushes: Counter,
    pub(crate) acknowledgements: Counter,
    pub(crate) reports: Counter,
    refusals: Family<Label<String>, Counter>,
    rejected: Family<Label<Rejection>, Counter>,
}

impl SamplerMetrics {
    fn register(&self, registry: &mut Registry) {
        registry.register(
            "samplers",
            "Open streams of samplers",
            self.connected.clone(),
        );
        registry.register(
            "tail_pushes",
            "Tail rules sent over streams",
            self.pushes.clone(),
        );
        registry.register(
            "tail_acknowledgements",
            "Tail rules that samplers acknowledged",
            self.acknowledgements.clone(),
        );
        registry.register(
            "tail_refusals",
            "Tail rules that samplers refused, by reason",
            self.refusals.clone(),
        );
        registry.register(
            "tail_reports",
            "Reports received from samplers",
            self.reports.clone(),
        );
        registry.register(
            "tail_rejected_messages",
            "Invalid messages of samplers that were ignored, by reason",
            self.rejected.clone(),
        );
    }

    pub(crate) fn count_rejected(&self, reason: Rejection) {
        self.rejected.get_or_create(&[("reason", reason)]).inc();
    }
}

/// The time from a plan's publication to its acknowledgement.
#[derive(Clone, Debug)]
struct Propagation(Histogram);

impl Default for Propagation {
    fn default() -> Self {
        Self(Histogram::new([
            0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
        ]))
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
            "Plans that instances acknowledged",
            self.acknowledgements.clone(),
        );
        registry.register(
            "refusals",
            "Plans that instances refused, by reason",
            self.refusals.clone(),
        );
        registry.register(
            "reports",
            "Reports received from instances",
            self.reports.clone(),
        );
        registry.register(
            "metrics_requests",
            "OTLP metrics requests accepted",
            self.metrics_requests.clone(),
        );
        registry.register(
            "rejected_messages",
            "Invalid messages of instances that were ignored, by reason",
            self.rejected.clone(),
        );
        registry.register(
            "refused",
            "Clients refused, by endpoint and reason",
            self.refused.clone(),
        );
        registry.register(
            "polls",
            "Strategies sent to polling clients, by endpoint",
            self.polls.clone(),
        );
        registry.register_with_unit(
            "propagation",
            "Time from a plan's publication to an instance's acknowledgement",
            Unit::Seconds,
            self.propagation.0.clone(),
        );
        self.samplers.register(registry);
    }

    pub(crate) fn observe_propagation(&self, took: Duration) {
        self.propagation.0.observe(took.as_secs_f64());
    }

    pub(crate) fn count_refused_plan(&self, reason: &str) {
        let label = [("reason", self.reason_label(reason))];
        self.refusals.get_or_create(&label).inc();
    }

    pub(crate) fn count_refused_rules(&self, reason: &str) {
        let label = [("reason", self.reason_label(reason))];
        self.samplers.refusals.get_or_create(&label).inc();
    }

    pub(crate) fn count_rejected(&self, reason: Rejection) {
        self.rejected.get_or_create(&[("reason", reason)]).inc();
    }

    pub(crate) fn count_refused(&self, endpoint: Endpoint, reason: &'static str) {
        self.refused
            .get_or_create(&RefusalLabels { endpoint, reason })
            .inc();
    }

    pub(crate) fn count_poll(&self, endpoint: Endpoint) {
        self.polls.get_or_create(&[("endpoint", endpoint)]).inc();
    }

    /// The label of a reason: the reason itself if it is a word and among the first ones, or else
    /// `Other`.
    fn reason_label(&self, reason: &str) -> String {
        let is_word = is_word(reason);
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

/// Returns whether a reason is a short word, as those of our own clients are.
pub(crate) fn is_word(reason: &str) -> bool {
    (1..=MAX_REASON_BYTES).contains(&reason.len())
        && reason.bytes().all(|byte| byte.is_ascii_alphanumeric())
}
