//! The common part of client layers: opens a client span, and passes the context on.

use http::{HeaderMap, HeaderValue};
use opentelemetry::{
    Context, KeyValue,
    propagation::{Injector, TextMapPropagator},
    trace::{Span, SpanKind, TraceContextExt},
};
use opentelemetry_sdk::trace::SdkTracer;

use crate::{
    edge,
    exchange::start_span,
    metrics::Operation,
    propagation::{BAGGAGE, Propagator, TRACEPARENT, TRACESTATE},
};

/// A context with a new client span. If tracing is off or the trace is not sampled, it is the
/// current context, since the span would be dropped.
pub(crate) fn start(
    tracer: Option<&SdkTracer>,
    operation: &Operation,
    attributes: impl FnOnce() -> Vec<KeyValue>,
) -> Context {
    let current = Context::current();
    match tracer.filter(|_| !is_unsampled(&current)) {
        Some(tracer) => start_span(tracer, SpanKind::Client, operation, &current, |span| {
            span.set_attributes(attributes());
        }),
        None => current,
    }
}

/// Returns whether the context is in an unsampled trace, whose spans would all be dropped.
pub(crate) fn is_unsampled(context: &Context) -> bool {
    let span = context.span();
    let parent = span.span_context();
    parent.is_valid() && !parent.is_sampled()
}

/// Writes the context into a request's headers, replacing any that they have.
pub(crate) fn inject(context: &Context, headers: &mut HeaderMap) {
    // A proxied request still has its caller's headers, and those not written again would remain.
    for field in [TRACEPARENT, TRACESTATE, BAGGAGE] {
        if let Some(name) = edge::name(field) {
            headers.remove(name);
        }
    }
    Propagator.inject_context(context, &mut Headers(headers));
}

struct Headers<'a>(&'a mut HeaderMap);

impl Injector for Headers<'_> {
    fn set(&mut self, key: &str, value: String) {
        // The propagator sets only its own fields, with valid values.
        if let (Some(name), Ok(mut value)) = (edge::name(key), HeaderValue::try_from(value)) {
            // Different in each call, so HTTP/2 should not index it.
            value.set_sensitive(true);
            self.0.insert(name.clone(), value);
        }
    }
}
