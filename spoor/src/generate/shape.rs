//! The shape of a trace: its spans with their services and times, and the one with an error.

use std::time::{Duration, SystemTime};

use opentelemetry::{
    InstrumentationScope, KeyValue, SpanId, TraceFlags, TraceId,
    trace::{SpanContext, SpanKind, Status, TraceState},
};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use rand::{Rng, RngExt};

use super::{ErrorIn, GenerateArgs};

/// The flags `sampled` and `random` (W3C Trace Context, Level 2).
const FLAGS: TraceFlags = TraceFlags::new(0x03);

/// The index of the root in the plan of a trace.
const ROOT: u32 = 0;

/// A planned trace.
#[derive(Clone, Debug)]
pub(super) struct Trace {
    pub(super) id: TraceId,
    /// The index of the service at which the trace starts.
    pub(super) service: usize,
    /// True if a span has an error.
    pub(super) has_error: bool,
    /// The spans in the order in which they end. The root is the last.
    pub(super) spans: Vec<PlannedSpan>,
}

/// A planned span.
#[derive(Clone, Debug)]
pub(super) struct PlannedSpan {
    /// The end, since the start of the trace.
    pub(super) ends: Duration,
    /// The index of the span's service.
    pub(super) service: usize,
    starts: Duration,
    id: SpanId,
    trace: TraceId,
    parent: SpanId,
    has_error: bool,
}

impl GenerateArgs {
    /// Plans the trace with this number.
    pub(super) fn trace(&self, number: u64, random: &mut impl Rng) -> Trace {
        let has_error = random.random_bool(self.errors.as_f64());
        let failing = has_error.then(|| match self.error_in {
            ErrorIn::AnySpan => random.random_range(0..self.spans),
            ErrorIn::LastSpan => ROOT,
        });
        // Not 0, which W3C Trace Context reserves for an invalid ID.
        let trace = TraceId::from(random.random_range(1..=u128::MAX));
        let root = SpanId::from(random.random_range(1..=u64::MAX));
        let planned = |index: u32, id, parent, starts, ends| PlannedSpan {
            ends,
            service: self.service_at(number + u64::from(index)),
            starts,
            id,
            trace,
            parent,
            has_error: failing == Some(index),
        };
        let children = (1..self.spans).map(|index| {
            let id = SpanId::from(random.random_range(1..=u64::MAX));
            // One after the other, so that a receiver gets each trace in parts, as from a mesh.
            let starts = self.spread * (index - 1) / self.spans;
            planned(index, id, root, starts, self.spread * index / self.spans)
        });
        let mut spans: Vec<_> = children.collect();
        let (no_parent, starts) = (SpanId::INVALID, Duration::ZERO);
        spans.push(planned(ROOT, root, no_parent, starts, self.spread));
        Trace {
            id: trace,
            service: self.service_at(number),
            has_error,
            spans,
        }
    }

    fn service_at(&self, number: u64) -> usize {
        let services = self.services.len() as u64;
        (number % services) as usize
    }
}

impl PlannedSpan {
    /// The span as an SDK would have recorded it.
    pub(super) fn record(
        &self,
        trace_started: SystemTime,
        scope: &InstrumentationScope,
    ) -> SpanData {
        let is_root = self.parent == SpanId::INVALID;
        // The `tracestate` that a head at 100 % sets, with which receivers take a trace's randomness
        // from its ID. `insert` accepts it, since it is valid.
        let state = TraceState::NONE.insert("ot", "th:0").unwrap_or_default();
        let is_remote = false;
        SpanData {
            span_context: SpanContext::new(self.trace, self.id, FLAGS, is_remote, state),
            parent_span_id: self.parent,
            parent_span_is_remote: !is_root,
            span_kind: SpanKind::Server,
            name: if is_root { "generate" } else { "work" }.into(),
            start_time: trace_started + self.starts,
            end_time: trace_started + self.ends,
            attributes: vec![KeyValue::new("spoor.generated", true)],
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: if self.has_error {
                Status::error("requested with --errors")
            } else {
                Status::Unset
            },
            instrumentation_scope: scope.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::HashSet;

    use proptest::prelude::*;
    use rand::{SeedableRng, rngs::StdRng};
    use spoor_policy::{Probability, ServiceName};

    use super::*;
    use crate::cli::Output;

    fn args(services: usize, spans: u32, errors: Probability) -> GenerateArgs {
        GenerateArgs {
            services: (0..services)
                .map(|n| ServiceName::new(format!("service-{n}")).unwrap())
                .collect(),
            rate: 1,
            traces: None,
            duration: None,
            spans,
            spread: Duration::from_secs(1),
            errors,
            error_in: ErrorIn::AnySpan,
            trace_ids: false,
            grace: Duration::ZERO,
            output: Output::Table,
        }
    }

    proptest! {
        #[test]
        fn spans_are_in_order_and_end_with_the_root(
            services in 1_usize..5, spans in 1_u32..50, number in 0_u64..1000, seed: u64,
        ) {
            let args = args(services, spans, Probability::ALWAYS);
            let trace = args.trace(number, &mut StdRng::seed_from_u64(seed));
            prop_assert_eq!(trace.spans.len(), spans as usize);
            prop_assert!(trace.spans.is_sorted_by_key(|span| span.ends));
            prop_assert!(trace.spans.iter().all(|span| span.starts <= span.ends));
            let root = trace.spans.last().unwrap();
            prop_assert_eq!(root.parent, SpanId::INVALID);
            prop_assert_eq!(root.service, trace.service);
            prop_assert!(trace.spans[..trace.spans.len() - 1].iter().all(|span| span.parent == root.id));
            let ids: HashSet<_> = trace.spans.iter().map(|span| span.id).collect();
            prop_assert_eq!(ids.len(), spans as usize);
            prop_assert_eq!(trace.spans.iter().filter(|span| span.has_error).count(), 1);
        }
    }

    #[test]
    fn last_span_has_the_error_if_requested() {
        let args = GenerateArgs {
            error_in: ErrorIn::LastSpan,
            ..args(2, 4, Probability::ALWAYS)
        };
        let trace = args.trace(3, &mut StdRng::seed_from_u64(1));
        let failing: Vec<_> = trace.spans.iter().map(|span| span.has_error).collect();
        assert_eq!(failing, [false, false, false, true]);
    }

    #[test]
    fn spans_have_the_randomness_of_their_trace_id() {
        let args = args(1, 2, Probability::NEVER);
        let trace = args.trace(0, &mut StdRng::seed_from_u64(1));
        let scope = InstrumentationScope::default();
        for span in &trace.spans {
            let context = span.record(SystemTime::UNIX_EPOCH, &scope).span_context;
            assert_eq!(context.trace_id(), trace.id);
            assert_eq!(context.trace_state().header(), "ot=th:0");
            assert_eq!(context.trace_flags(), FLAGS);
        }
    }

    #[test]
    fn services_take_turns_and_all_have_spans() {
        let args = args(2, 4, Probability::NEVER);
        let mut random = StdRng::seed_from_u64(1);
        for number in 0..10 {
            let trace = args.trace(number, &mut random);
            assert_eq!(trace.service, (number % 2) as usize);
            let through: HashSet<_> = trace.spans.iter().map(|span| span.service).collect();
            assert_eq!(through.len(), 2);
            assert!(!trace.has_error);
        }
    }
}
