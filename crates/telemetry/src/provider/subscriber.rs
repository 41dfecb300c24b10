//! Converts `tracing`'s spans and events to log lines and parts of the trace.

use opentelemetry::Context;
use opentelemetry_sdk::trace::SdkTracer;
use spoor_runtime::LogLines;
use tracing::{Level, Metadata, Subscriber, level_filters::LevelFilter, subscriber::Interest};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{FilterExt, filter_fn},
    fmt::MakeWriter,
    layer::{self, Filter, SubscriberExt},
};

use super::{TelemetryStartError, events::Events};
use crate::{outgoing::is_unsampled, settings::TelemetrySettings};

/// The targets of the libraries that transport telemetry. Each export of their spans would create
/// more spans.
const TRANSPORT_TARGETS: [&str; 8] = [
    "h2",
    "hyper",
    "hyper_util",
    "opentelemetry",
    "reqwest",
    "rustls",
    "tonic",
    "tower",
];

/// A subscriber with these settings that writes to `log`.
pub(super) fn build(
    settings: &TelemetrySettings,
    tracer: Option<SdkTracer>,
    log: impl for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
) -> Result<impl Subscriber + Send + Sync + 'static, TelemetryStartError> {
    let filter =
        EnvFilter::try_new(&settings.log_filter).map_err(TelemetryStartError::LogFilter)?;
    let only_traced = OnlyTraced {
        has_tracer: tracer.is_some(),
    };
    let log = tracing_subscriber::fmt::layer()
        .with_writer(log)
        .event_format(LogLines(settings.log_format))
        .with_filter(filter.and(filter_fn(|metadata| metadata.is_event())));
    let spans = tracer.map(|tracer| {
        tracing_opentelemetry::layer()
            .with_tracer(tracer)
            // Each of these would add an attribute to every span.
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_target(false)
            .with_filter(traceable(|metadata| metadata.is_span()))
    });
    let events = Events.with_filter(traceable(|_| true));
    Ok(Registry::default()
        .with(log)
        .with(spans)
        .with(events)
        .with(only_traced))
}

fn is_traceable(metadata: &Metadata<'_>) -> bool {
    let origin = metadata.target().split("::").next().unwrap_or_default();
    *metadata.level() <= Level::INFO && !TRANSPORT_TARGETS.contains(&origin)
}

fn traceable<S: Subscriber>(filter: fn(&Metadata<'_>) -> bool) -> impl Filter<S> {
    filter_fn(move |metadata| is_traceable(metadata) && filter(metadata))
        .with_max_level_hint(LevelFilter::INFO)
}

/// Disables `tracing`'s spans that would not be recorded: those in unsampled traces, those of
/// transport libraries, those below `INFO`, and all of them if tracing is off. The log needs none
/// of them.
struct OnlyTraced {
    has_tracer: bool,
}

impl<S: Subscriber> Layer<S> for OnlyTraced {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        let may_trace = self.has_tracer && is_traceable(metadata);
        match (metadata.is_span(), may_trace) {
            (false, _) => Interest::always(),
            // Decided for each span, since it depends on the current trace.
            (true, true) => Interest::sometimes(),
            (true, false) => Interest::never(),
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: layer::Context<'_, S>) -> bool {
        !metadata.is_span()
            || (self.has_tracer && is_traceable(metadata) && !Context::map_current(is_unsampled))
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::INFO)
    }
}
