//! Requests, errors, latencies and calls by service and operation, computed from traces.
//!
//! Sampled traces stand for those that were not kept: each request counts as often as the inverse
//! of the probability with which its trace was kept. That is the threshold in its `tracestate`
//! (`ot=th:…`), or the share `otherwise` of the policy that kept the trace, if it is smaller.

mod latencies;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    ops::RangeInclusive,
    time::Duration,
};

use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, span::SpanKind};
use spoor_policy::Threshold;

pub use latencies::Latencies;

use crate::{
    KeepReason, TraceId,
    tail::Head,
    tree::{Member, members},
};

/// The most services with figures of their own; the others share one entry.
pub const MAX_SERVICES: usize = 200;
/// The most operations of all services with figures of their own; a service's others share one entry.
pub const MAX_OPERATIONS: usize = 1_000;
/// The most pairs of caller and callee; the others share one entry.
pub const MAX_CALLS: usize = 2_000;
/// The name of the services or operations beyond the limits.
pub const OTHER: &str = "(other)";

/// The longest name with figures of its own, in bytes.
const MAX_NAME_BYTES: usize = 1 << 10;
/// The most slow exemplars of an operation.
const MAX_SLOWEST: usize = 3;
/// The most failed exemplars of an operation.
const MAX_FAILED: usize = 2;

/// The figures of all services in a period.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServiceFigures {
    /// The length of the period that the traces cover.
    pub period: Duration,
    /// The number of traces that were counted.
    pub traces: usize,
    /// The number of traces that were too large to be counted.
    pub too_large: usize,
    /// True if there were more traces than could be read, so that the period is shorter than
    /// requested.
    pub is_partial: bool,
    /// The figures by service.
    pub services: BTreeMap<String, FiguresOfService>,
    /// The calls by caller and callee, without those of a service to itself.
    pub calls: BTreeMap<(String, String), CallFigures>,
}

/// The figures of one service.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FiguresOfService {
    /// The requests of all operations.
    pub total: RequestFigures,
    /// The figures by operation.
    pub operations: BTreeMap<String, OperationFigures>,
}

/// The figures of one operation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OperationFigures {
    /// Its requests.
    pub requests: RequestFigures,
    /// Traces with its slowest requests, the slowest first.
    pub slowest: Vec<Exemplar>,
    /// Traces with its failed requests, the newest first.
    pub failed: Vec<Exemplar>,
}

/// Requests, weighted. A request is a span of the kind server or consumer, or a root.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RequestFigures {
    /// The number of requests.
    pub count: f64,
    /// The number of those that failed.
    pub errors: f64,
    /// Their latencies.
    pub latencies: Latencies,
}

/// Calls of one service to another, weighted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CallFigures {
    /// The number of calls.
    pub count: f64,
    /// The number of those that failed.
    pub errors: f64,
}

/// A trace with a request that is an example of its operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exemplar {
    /// The trace.
    pub id: TraceId,
    /// The start of the request, in nanoseconds since the Unix epoch.
    pub start: u64,
    /// The duration of the request.
    pub duration: Duration,
}

/// Computes the figures from one trace after another, in bounded memory.
#[derive(Clone, Debug)]
pub struct FiguresBuilder {
    window: RangeInclusive<u64>,
    /// The earliest start of a trace, in nanoseconds since the Unix epoch.
    earliest: u64,
    /// The number of operations with figures of their own.
    operations: usize,
    figures: ServiceFigures,
}

impl FiguresBuilder {
    /// Counts requests that start in a window, given in nanoseconds since the Unix epoch.
    #[must_use]
    pub fn new(window: RangeInclusive<u64>) -> Self {
        Self {
            earliest: *window.end(),
            window,
            operations: 0,
            figures: ServiceFigures::default(),
        }
    }

    /// Adds the spans of a trace, and the reason that it was kept, if it is known.
    pub fn add(&mut self, id: TraceId, batches: Vec<ResourceSpans>, kept: Option<&KeepReason>) {
        let members = members(batches);
        let by_id: HashMap<&[u8], &Member> = members
            .iter()
            .map(|member| (member.span.span_id.as_slice(), member))
            .collect();
        self.figures.traces += 1;
        for member in &members {
            self.earliest = self.earliest.min(member.start());
            if !is_request(member) || !self.window.contains(&member.start()) {
                continue;
            }
            let weight = weight(member, kept);
            let parent = member.parent_id().and_then(|parent| by_id.get(parent));
            if let Some(parent) = parent.filter(|it| it.service() != member.service()) {
                self.add_call(parent, member, weight);
            }
            self.add_request(id, member, weight);
        }
    }

    /// Counts a trace that is too large to be read.
    pub fn skip_too_large(&mut self) {
        self.figures.too_large += 1;
    }

    /// Returns the figures. If they are partial, the traces that were added must be the newest in the
    /// window, so that the period that they cover is known.
    #[must_use]
    pub fn finish(mut self, is_partial: bool) -> ServiceFigures {
        let (start, end) = self.window.into_inner();
        let start = match is_partial {
            true => self.earliest.max(start),
            false => start,
        };
        self.figures.is_partial = is_partial;
        self.figures.period = Duration::from_nanos(end.saturating_sub(start));
        self.figures
    }

    fn add_request(&mut self, id: TraceId, member: &Member, weight: f64) {
        let name = self.service_name(member.service());
        let service = self.figures.services.entry(name).or_default();
        service.total.add(member, weight);
        let name = member.span.name.as_str();
        let has_room = self.operations < MAX_OPERATIONS && name.len() <= MAX_NAME_BYTES;
        let name = match has_room || service.operations.contains_key(name) {
            true => name,
            false => OTHER,
        };
        let before = service.operations.len();
        let operation = service.operations.entry(name.to_owned()).or_default();
        operation.requests.add(member, weight);
        operation.add_exemplar(id, member);
        self.operations += service.operations.len() - before;
    }

    fn add_call(&mut self, caller: &Member, callee: &Member, weight: f64) {
        let from = self.service_name(caller.service());
        let mut call = (from, self.service_name(callee.service()));
        let calls = &mut self.figures.calls;
        if calls.len() >= MAX_CALLS && !calls.contains_key(&call) {
            call = (OTHER.to_owned(), OTHER.to_owned());
        }
        let figures = calls.entry(call).or_default();
        figures.count += weight;
        // A call that timed out failed for its caller only.
        let failed_for_caller = caller.span.kind() == SpanKind::Client && caller.is_error();
        if callee.is_error() || failed_for_caller {
            figures.errors += weight;
        }
    }

    /// The name under which a service is counted.
    fn service_name(&self, name: &str) -> String {
        let services = &self.figures.services;
        let has_room = services.len() < MAX_SERVICES && name.len() <= MAX_NAME_BYTES;
        match has_room || services.contains_key(name) {
            true => name.to_owned(),
            false => OTHER.to_owned(),
        }
    }
}

impl RequestFigures {
    fn add(&mut self, member: &Member, weight: f64) {
        self.count += weight;
        if member.is_error() {
            self.errors += weight;
        }
        self.latencies.add(member.duration(), weight);
    }
}

impl OperationFigures {
    fn add_exemplar(&mut self, id: TraceId, member: &Member) {
        let exemplar = Exemplar {
            id,
            start: member.start(),
            duration: member.duration(),
        };
        insert(&mut self.slowest, exemplar, MAX_SLOWEST, |it| {
            it.duration.as_nanos()
        });
        if member.is_error() {
            insert(&mut self.failed, exemplar, MAX_FAILED, |it| it.start.into());
        }
    }
}

/// Inserts an exemplar into those with the greatest keys, at most one of each trace.
fn insert(kept: &mut Vec<Exemplar>, new: Exemplar, max: usize, key: fn(&Exemplar) -> u128) {
    if let Some(same) = kept.iter().position(|it| it.id == new.id) {
        if kept.get(same).is_some_and(|it| key(it) >= key(&new)) {
            return;
        }
        kept.remove(same);
    }
    let at = kept.partition_point(|it| key(it) >= key(&new));
    kept.insert(at, new);
    kept.truncate(max);
}

fn is_request(member: &Member) -> bool {
    let kind = member.span.kind();
    matches!(kind, SpanKind::Server | SpanKind::Consumer) || member.parent_id().is_none()
}

/// The number of requests that a span stands for.
///
/// Source: OpenTelemetry, "TraceState: Probability Sampling" (adjusted count).
fn weight(member: &Member, kept: Option<&KeepReason>) -> f64 {
    let head = Head::read(&member.span.trace_state, member.span.flags);
    let of_tail = match kept {
        Some(KeepReason::Otherwise { rate, .. }) => rate.threshold().value(),
        _ => 0,
    };
    let threshold = head.threshold.unwrap_or(0).max(of_tail);
    let kept = Threshold::END.saturating_sub(threshold).max(1);
    Threshold::END as f64 / kept as f64
}
