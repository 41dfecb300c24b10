//! The sampler that applies the plans of the control plane while the process runs.
//!
//! [`Live`] holds the plan in force, and [`LiveSampler`] applies it. A decision reads one atomic,
//! its thread's copy of the plan and, for a rate limit, the bucket. It takes no lock and, if the
//! trace is dropped, allocates nothing, except for a thread's first decision under a plan.

mod bucket;
mod counts;
mod live;
mod plan;
mod thread_view;
mod trace_state;
mod view;

use std::sync::Arc;

use opentelemetry::{
    Context, KeyValue,
    trace::{Link, SpanKind, TraceContextExt, TraceId, TraceState},
};
use opentelemetry_sdk::trace::{SamplingDecision, SamplingResult, ShouldSample};
use spoor_policy::{Probability, Version};
use spoor_proto::spoor::control::v1 as wire;

pub use counts::Decisions;
pub use live::{HeldPlan, Live};
pub use plan::PlanRefusal;

use view::{Rule, View};

/// Follows the parent's decision if there is one. For a root span, the plan in [`Live`] and the
/// span's name at its start determine the decision.
#[derive(Clone, Debug)]
pub struct LiveSampler {
    live: Arc<Live>,
    fallback: Arc<Rule>,
}

impl LiveSampler {
    /// Creates a sampler that follows `live`, and `fallback` before the first plan and where a plan
    /// has no strategy.
    #[must_use]
    pub fn new(live: Arc<Live>, fallback: Probability) -> Self {
        Self {
            live,
            fallback: Arc::new(Rule::probability(fallback)),
        }
    }

    #[inline]
    fn sample_root(&self, trace_id: TraceId, name: &str, incoming: &TraceState) -> SamplingResult {
        let kept = self.live.with_view(|view, shard| {
            let (entry, rule) = view
                .rule(name)
                .unwrap_or((View::DEFAULT_ENTRY, &self.fallback));
            let kept = rule.decide(|| trace_state::randomness(trace_id, incoming));
            shard.count(entry, kept);
            // Built for kept traces only: dropping one must allocate nothing.
            kept.then(|| rule.trace_state(incoming))
        });
        match kept {
            Some(trace_state) => sampling_result(true, trace_state),
            None => sampling_result(false, trace_state::without_threshold(incoming)),
        }
    }
}

impl ShouldSample for LiveSampler {
    fn should_sample(
        &self,
        parent_context: Option<&Context>,
        trace_id: TraceId,
        name: &str,
        _span_kind: &SpanKind,
        _attributes: &[KeyValue],
        _links: &[Link],
    ) -> SamplingResult {
        match parent_context.filter(|context| context.has_active_span()) {
            None => self.sample_root(trace_id, name, &TraceState::NONE),
            Some(context) => {
                let span = context.span();
                let parent = span.span_context();
                if parent.is_valid() {
                    sampling_result(parent.is_sampled(), parent.trace_state().clone())
                } else {
                    // An invalid parent may still have the randomness by which other services
                    // decide on this trace.
                    self.sample_root(trace_id, name, parent.trace_state())
                }
            }
        }
    }
}

/// A plan's version in messages.
pub(crate) fn to_wire(version: Version) -> wire::Version {
    wire::Version {
        epoch: version.epoch,
        sequence: version.sequence,
    }
}

#[inline]
fn sampling_result(kept: bool, trace_state: TraceState) -> SamplingResult {
    let decision = match kept {
        true => SamplingDecision::RecordAndSample,
        false => SamplingDecision::Drop,
    };
    SamplingResult {
        decision,
        attributes: Vec::new(),
        trace_state,
    }
}
