//! Extraction and injection of W3C Trace Context and Baggage.
//!
//! This replaces the SDK's propagator for Trace Context, which masks the random flag, rejects keys
//! that Trace Context level 2 permits, and takes the first of several `traceparent` headers.
//! Sources: W3C Trace Context level 2, W3C Baggage.

mod baggage;
mod origin;
mod traceparent;
mod tracestate;

use std::sync::LazyLock;

use opentelemetry::{
    Context,
    propagation::{Extractor, Injector, TextMapPropagator, text_map_propagator::FieldIter},
    trace::{SpanContext, TraceContextExt, TraceFlags},
};
use opentelemetry_sdk::propagation::BaggagePropagator;

use origin::Origin;

/// `traceparent`'s name.
pub const TRACEPARENT: &str = "traceparent";
/// `tracestate`'s name.
pub const TRACESTATE: &str = "tracestate";
/// `baggage`'s name.
pub const BAGGAGE: &str = "baggage";

/// The flag for a trace ID whose low 56 bits are random.
///
/// Source: W3C Trace Context level 2, random trace id flag.
pub const RANDOM: TraceFlags = TraceFlags::new(0x02);

/// Reads and writes `traceparent`, `tracestate` and `baggage`.
///
/// An invalid or repeated `traceparent` starts a new trace. An invalid or oversized `tracestate` is
/// dropped and the `traceparent` kept. It trusts every caller: [`crate::edge`] decides which to
/// trust.
#[derive(Clone, Copy, Debug)]
pub struct Propagator;

impl TextMapPropagator for Propagator {
    fn inject_context(&self, context: &Context, injector: &mut dyn Injector) {
        let span = context.span();
        let span_context = span.span_context();
        if span_context.is_valid() {
            injector.set(TRACEPARENT, traceparent(context));
            let header = tracestate::write(&Origin::members(context, span_context));
            if !header.is_empty() {
                injector.set(TRACESTATE, header);
            }
        }
        BaggagePropagator::new().inject_context(context, injector);
    }

    fn extract_with_context(&self, context: &Context, extractor: &dyn Extractor) -> Context {
        let context = baggage::extract(context, extractor);
        let Some(parent) = caller(extractor) else {
            return context;
        };
        let state = tracestate::read(&extractor.get_all(TRACESTATE).unwrap_or_default());
        Origin::attach(&context, parent, state)
    }

    fn fields(&self) -> FieldIter<'_> {
        static FIELDS: LazyLock<[String; 3]> =
            LazyLock::new(|| [TRACEPARENT, TRACESTATE, BAGGAGE].map(str::to_owned));
        FieldIter::new(&*FIELDS)
    }
}

/// The header for this context's span.
pub(crate) fn traceparent(context: &Context) -> String {
    traceparent::write(context.span().span_context(), flags(context))
}

/// The span that a request comes from, without its `tracestate` and baggage.
pub(crate) fn caller(extractor: &dyn Extractor) -> Option<SpanContext> {
    match extractor.get_all(TRACEPARENT)?.as_slice() {
        // If there are several, an intermediary has added one, and the right one is unknown.
        [one] => traceparent::read(one),
        _ => None,
    }
}

/// The flags that the context's span passes on: whether it is sampled, and whether its trace ID is
/// random. The SDK resets the random flag on spans that it drops, so for a trace that another
/// process started, the flag is taken from the extracted context. IDs made by this process are
/// random.
#[must_use]
pub fn flags(context: &Context) -> TraceFlags {
    let span = context.span();
    let span_context = span.span_context();
    let sampled = span_context.trace_flags() & TraceFlags::SAMPLED;
    if is_random(context, span_context) {
        sampled | RANDOM
    } else {
        sampled
    }
}

fn is_random(context: &Context, span_context: &SpanContext) -> bool {
    match Origin::of(context, span_context) {
        Some(origin) => origin.is_random,
        None if span_context.is_remote() => span_context.trace_flags() & RANDOM == RANDOM,
        None => span_context.is_valid(),
    }
}
