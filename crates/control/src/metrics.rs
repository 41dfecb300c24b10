//! The control plane's own metrics.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use parking_lot::Mutex;
use prometheus_client::{
    encoding::EncodeLabelValue,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use crate::rejection::Rejection;

/// The most reasons for refused plans and tail rules that get a label of their own. Clients choose
/// the reasons, so the number of series must be bounded.
const MAX_REFUSAL_REASONS: usize = 16;

/// The longest reason that gets a label of its own, in bytes.
const MAX_REASON_BYTES: usize = 40;

/// A set of one label.
type Label<T> = [(&'static str, T); 1];

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
    refused_plans: Family<Label<String>, Counter>,
    rejected: Family<Label<Rejection>, Counter>,
    /// A stream is one request.
    refused_requests: Family<(Label<Endpoint>, Label<&'static str>), Counter>,
    polls: Family<Label<Endpoint>, Counter>,
    known_reasons: Arc<Mutex<BTreeSet<String>>>,
}

/// The metrics of the stream of tail rules.
#[derive(Clone, Debug, Default)]
pub(crate) struct SamplerMetrics {
    pub(crate) connected: Gauge,
    pub(crate) pushes: Counter,
    pub(crate) ring_pushes: Counter,
    pub(crate) acknowledgements: Counter,
    pub(crate) reports: Counter,
    refused_rules: Family<Label<String>, Counter>,
    rejected: Family<Label<Rejection>, Counter>,
}

impl SamplerMetrics {
    fn register(&self, registry: &mut Registry) {
        let help = "Open streams of tail rules with a registered sampler";
        registry.register("samplers", help, self.connected.clone());
        let help = "Tail rules sent over streams";
        registry.register("tail_pushes", help, self.pushes.clone());
        let help = "Rings sent to samplers over streams";
        registry.register("ring_pushes", help, self.ring_pushes.clone());
        let help = "Tail rules that samplers acknowledged";
        registry.register("tail_acknowledgements", help, self.acknowledgements.clone());
        let help = "Tail rules that samplers refused, by reason";
        registry.register("tail_refusals", help, self.refused_rules.clone());
        let help = "Reports from samplers that were applied";
        registry.register("tail_reports", help, self.reports.clone());
        let help = "Messages from samplers that were not applied, by reason";
        registry.register("tail_rejected_messages", help, self.rejected.clone());
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
        let help = "Open policy streams with a registered client";
        registry.register("subscribers", help, self.subscribers.clone());
        let help = "Policy tables published";
        registry.register("publications", help, self.publications.clone());
        registry.register("pushes", "Plans sent over streams", self.pushes.clone());
        let help = "Plans that instances acknowledged";
        registry.register("acknowledgements", help, self.acknowledgements.clone());
        let help = "Plans that instances refused, by reason";
        registry.register("refusals", help, self.refused_plans.clone());
        let help = "Reports from instances that were applied";
        registry.register("reports", help, self.reports.clone());
        let help = "OTLP metrics requests accepted";
        registry.register("metrics_requests", help, self.metrics_requests.clone());
        let help = "Messages from instances that were not applied, or only in part, by reason";
        registry.register("rejected_messages", help, self.rejected.clone());
        let help = "Requests refused, by endpoint and reason";
        registry.register("refused", help, self.refused_requests.clone());
        let help = "Strategies sent to polling clients, by endpoint";
        registry.register("polls", help, self.polls.clone());
        let help = "Time from a plan's publication to an instance's acknowledgement";
        let propagation = self.propagation.0.clone();
        registry.register_with_unit("propagation", help, Unit::Seconds, propagation);
        self.samplers.register(registry);
    }

    pub(crate) fn observe_propagation(&self, took: Duration) {
        self.propagation.0.observe(took.as_secs_f64());
    }

    pub(crate) fn count_refused_plan(&self, reason: &str) {
        let label = [("reason", self.reason_label(reason))];
        self.refused_plans.get_or_create(&label).inc();
    }

    pub(crate) fn count_refused_rules(&self, reason: &str) {
        let label = [("reason", self.reason_label(reason))];
        self.samplers.refused_rules.get_or_create(&label).inc();
    }

    pub(crate) fn count_rejected(&self, reason: Rejection) {
        self.rejected.get_or_create(&[("reason", reason)]).inc();
    }

    /// Counts a refused request.
    pub(crate) fn count_refused(&self, endpoint: Endpoint, reason: &'static str) {
        let labels = ([("endpoint", endpoint)], [("reason", reason)]);
        self.refused_requests.get_or_create(&labels).inc();
    }

    pub(crate) fn count_poll(&self, endpoint: Endpoint) {
        self.polls.get_or_create(&[("endpoint", endpoint)]).inc();
    }

    /// The label of a reason: the reason itself if it is a word and among the first ones, or else
    /// `Other`.
    fn reason_label(&self, reason: &str) -> String {
        let mut known = self.known_reasons.lock();
        if !known.contains(reason) {
            if !is_word(reason) || known.len() >= MAX_REFUSAL_REASONS {
                return "Other".to_owned();
            }
            known.insert(reason.to_owned());
        }
        reason.to_owned()
    }
}

/// Returns whether a reason is a short word, as those of our own clients are.
pub(crate) fn is_word(reason: &str) -> bool {
    (1..=MAX_REASON_BYTES).contains(&reason.len())
        && reason.bytes().all(|byte| byte.is_ascii_alphanumeric())
}
