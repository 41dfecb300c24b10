//! Properties of an incoming context that the SDK's types cannot hold.

use std::sync::Arc;

use opentelemetry::{
    Context,
    trace::{SpanContext, TraceContextExt, TraceId, TraceState},
};

use super::{RANDOM, tracestate::Member};

/// The part of an incoming context that a [`Context`] holds in addition to the span context.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    trace_id: TraceId,
    /// True if the incoming context has the random flag.
    pub(super) is_random: bool,
    /// All of the incoming `tracestate`.
    members: Arc<[Member]>,
    /// The part of it that the span context holds.
    held: TraceState,
}

impl Origin {
    /// Adds a parent and its `tracestate` to a context.
    pub(super) fn attach(context: &Context, parent: SpanContext, members: Vec<Member>) -> Context {
        let is_random = parent.trace_flags() & RANDOM == RANDOM;
        if is_random && members.is_empty() {
            // This is the default without an origin, and true for most calls inside a mesh.
            return context.with_remote_span_context(parent);
        }
        let held = representable(&members);
        let origin = Self {
            trace_id: parent.trace_id(),
            is_random,
            members: members.into(),
            held: held.clone(),
        };
        let parent = SpanContext::new(
            parent.trace_id(),
            parent.span_id(),
            parent.trace_flags(),
            true,
            held,
        );
        context.with_remote_span_context(parent).with_value(origin)
    }

    /// The origin of this span's trace. `None` for a trace that started here, and for one that came
    /// with the random flag and without a `tracestate`.
    pub(super) fn of<'a>(context: &'a Context, span: &SpanContext) -> Option<&'a Self> {
        context
            .get::<Self>()
            .filter(|origin| origin.trace_id == span.trace_id())
    }

    /// The span's `tracestate` with the members that only the origin holds: at their positions if
    /// the list is unchanged, else at the end.
    pub(super) fn members<'a>(
        context: &'a Context,
        span: &'a SpanContext,
    ) -> Vec<(&'a str, &'a str)> {
        let state = span.trace_state();
        let Some(origin) = Self::of(context, span) else {
            return state.into_iter().collect();
        };
        let all = origin.members.iter();
        let all = all.map(|(key, value)| (key.as_str(), value.as_str()));
        if *state == origin.held {
            return all.collect();
        }
        let only_in_origin = all.filter(|(key, _)| origin.held.get(key).is_none());
        state.into_iter().chain(only_in_origin).collect()
    }
}

/// The members whose keys the SDK accepts. It uses the narrower grammar of level 1.
fn representable(members: &[Member]) -> TraceState {
    let all = members.iter();
    let all = all.map(|(key, value)| (key.as_str(), value.as_str()));
    let taken = all.filter(|member| TraceState::from_key_value([*member]).is_ok());
    TraceState::from_key_value(taken).unwrap_or(TraceState::NONE)
}
