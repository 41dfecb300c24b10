//! The trace that a request belongs to.

use opentelemetry::{
    Context,
    trace::{TraceContextExt, TraceId},
};

/// The ID of the current trace, sampled or not.
#[must_use]
pub fn trace_id() -> Option<TraceId> {
    Context::map_current(|context| {
        let span = context.span();
        let context = span.span_context();
        context.is_valid().then(|| context.trace_id())
    })
}
