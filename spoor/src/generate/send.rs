//! Lets the traces happen: each span is handed over at its end, to its service's exporter.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::{Resource, trace::SpanProcessor};
use opentelemetry_semantic_conventions::attribute::{
    SERVICE_INSTANCE_ID, SERVICE_NAME, SERVICE_NAMESPACE,
};
use spoor_policy::ServiceName;
use spoor_telemetry::{
    Settings, StartError,
    batch::{BatchProcessor, DropReason, SpanCounts},
    export,
    settings::OtlpSettings,
};
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    shape::{Shape, Trace},
    summary::Summary,
};

/// What to send.
#[derive(Clone, Debug)]
pub(super) struct Generation {
    pub(super) shape: Shape,
    /// Traces a second.
    pub(super) rate: u32,
    /// How many at most.
    pub(super) traces: Option<u64>,
    /// How long at most.
    pub(super) duration: Option<Duration>,
}

/// Why nothing could be sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum GenerateError {
    /// Exporting is turned off.
    #[error("OTEL_TRACES_EXPORTER: must be \"otlp\": spans that nobody gets can't be counted")]
    NoExporter,
    /// No exporter.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A thread that ended by itself.
    #[error("exporting the last spans: {0}")]
    Drain(#[from] tokio::task::JoinError),
}

/// Sends it all until done or stopped, waits up to `grace` until it is exported, and counts.
pub(super) async fn send(
    generation: &Generation,
    settings: &Settings,
    grace: Duration,
    stop: CancellationToken,
) -> Result<Summary, GenerateError> {
    let otlp = settings.otlp.as_ref().ok_or(GenerateError::NoExporter)?;
    let services = &generation.shape.services;
    let counts = Arc::new(SpanCounts::new());
    let processors: Arc<[BatchProcessor]> = services
        .iter()
        .map(|service| exporter(service, settings, otlp, &counts))
        .collect::<Result<_, _>>()?;
    let mut summary = happen(generation, &processors, &stop).await;
    drain(processors, grace).await?;
    summary.exported = counts.exported();
    summary.dropped = DropReason::ALL
        .into_iter()
        .map(|reason| (reason.as_str(), counts.dropped(reason)))
        .filter(|(_, spans)| *spans > 0)
        .collect();
    Ok(summary)
}

/// Starts one trace after the other, each when it is due, and ends when all have ended.
async fn happen(
    generation: &Generation,
    processors: &Arc<[BatchProcessor]>,
    stop: &CancellationToken,
) -> Summary {
    let scope = InstrumentationScope::builder(env!("CARGO_PKG_NAME"))
        .with_version(env!("CARGO_PKG_VERSION"))
        .build();
    let started = Instant::now();
    let mut summary = Summary::default();
    let mut under_way = JoinSet::new();
    for number in 0..generation.traces.unwrap_or(u64::MAX) {
        let due = Duration::from_secs(number) / generation.rate;
        if generation.duration.is_some_and(|duration| due >= duration) {
            break;
        }
        tokio::select! {
            () = tokio::time::sleep_until(started + due) => {}
            () = stop.cancelled() => break,
        }
        let trace = generation.shape.trace(number, &mut rand::rng());
        let service = &generation.shape.services[trace.service];
        summary.count(service.as_str(), trace.spans.len() as u64, trace.has_error);
        under_way.spawn(end_spans(trace, Arc::clone(processors), scope.clone()));
        while under_way.try_join_next().is_some() {}
    }
    while under_way.join_next().await.is_some() {}
    summary.seconds = started.elapsed().as_secs_f64();
    summary
}

async fn end_spans(trace: Trace, processors: Arc<[BatchProcessor]>, scope: InstrumentationScope) {
    let (started, by_the_clock) = (Instant::now(), SystemTime::now());
    for span in trace.spans {
        tokio::time::sleep_until(started + span.ends).await;
        processors[span.service].on_end(span.record(by_the_clock, &scope));
    }
}

/// A service's own exporter, as its process would have it.
fn exporter(
    service: &ServiceName,
    settings: &Settings,
    otlp: &OtlpSettings,
    counts: &Arc<SpanCounts>,
) -> Result<BatchProcessor, StartError> {
    let resource = Resource::builder_empty()
        .with_attributes([
            KeyValue::new(SERVICE_NAME, service.to_string()),
            KeyValue::new(SERVICE_NAMESPACE, settings.namespace.to_string()),
            KeyValue::new(SERVICE_INSTANCE_ID, settings.instance.clone()),
        ])
        .build();
    BatchProcessor::start(settings.batch, Arc::clone(counts), || {
        Ok(export::otlp(otlp, &resource)?)
    })
}

/// What isn't exported in time is counted as dropped.
async fn drain(processors: Arc<[BatchProcessor]>, grace: Duration) -> Result<(), GenerateError> {
    let mut draining = JoinSet::new();
    for processor in &*processors {
        let processor = processor.clone();
        draining.spawn_blocking(move || processor.drain(grace));
    }
    while let Some(drained) = draining.join_next().await {
        // Too little time shows in the counts, as spans that were dropped.
        let _in_time = drained?;
    }
    Ok(())
}
