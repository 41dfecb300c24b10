//! What becomes of `tracing`'s spans and events: lines of the log, and parts of the trace.

use opentelemetry::{Context, trace::TraceContextExt};
use opentelemetry_sdk::trace::SdkTracer;
use tracing::{Level, Metadata, Subscriber, level_filters::LevelFilter, subscriber::Interest};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{FilterExt, dynamic_filter_fn, filter_fn},
    layer::SubscriberExt,
};

use super::{StartError, events::Events};
use crate::{logs::Lines, settings::Settings};

/// The targets of what carries telemetry: its own spans would trace the tracing.
const PLUMBING: [&str; 8] = [
    "h2",
    "hyper",
    "hyper_util",
    "opentelemetry",
    "reqwest",
    "rustls",
    "tonic",
    "tower",
];

/// A subscriber of these settings.
pub(super) fn build(
    settings: &Settings,
    tracer: Option<SdkTracer>,
) -> Result<impl Subscriber + Send + Sync + 'static, StartError> {
    let filter = EnvFilter::try_new(&settings.log_filter).map_err(StartError::LogFilter)?;
    let log = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .event_format(Lines(settings.log_format))
        .with_filter(filter.and(filter_fn(|metadata| metadata.is_event())));
    let is_traced = dynamic_filter_fn(|metadata, _| is_of_trace(metadata))
        .with_max_level_hint(LevelFilter::INFO)
        .with_callsite_filter(|metadata| {
            if is_traceable(metadata) {
                Interest::sometimes()
            } else {
                Interest::never()
            }
        });
    let spans = tracer.map(|tracer| {
        tracing_opentelemetry::layer()
            .with_tracer(tracer)
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_target(false)
            .with_filter(is_traced)
    });
    let events = Events.with_filter(filter_fn(is_traceable).with_max_level_hint(LevelFilter::INFO));
    Ok(Registry::default().with(log).with(spans).with(events))
}

fn is_traceable(metadata: &Metadata<'_>) -> bool {
    let origin = metadata.target().split("::").next().unwrap_or_default();
    *metadata.level() <= Level::INFO && !PLUMBING.contains(&origin)
}

/// Inside a trace that isn't sampled a span isn't even made.
fn is_of_trace(metadata: &Metadata<'_>) -> bool {
    is_traceable(metadata)
        && Context::map_current(|current| {
            let span = current.span();
            let parent = span.span_context();
            !parent.is_valid() || parent.is_sampled()
        })
}
