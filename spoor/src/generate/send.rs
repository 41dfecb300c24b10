//! Sends the traces: each span is passed to the exporter of its service when it ends.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::Context;
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::{Resource, trace::SpanProcessor};
use opentelemetry_semantic_conventions::attribute::{
    SERVICE_INSTANCE_ID, SERVICE_NAME, SERVICE_NAMESPACE,
};
use spoor_policy::ServiceName;
use spoor_telemetry::{
    TelemetrySettings, TelemetryStartError,
    batch::{BatchProcessor, DropReason, SpanCounts},
    export,
    settings::OtlpSettings,
};
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{DEFAULT_DURATION, GenerateArgs, shape::Trace, summary::GenerationSummary};

/// Sends the traces until done or stopped, and waits up to `--grace` for them to be exported.
pub(super) async fn send(
    args: &GenerateArgs,
    settings: &TelemetrySettings,
    stop: CancellationToken,
) -> anyhow::Result<GenerationSummary> {
    let otlp = settings.otlp.as_ref().context(
        "OTEL_TRACES_EXPORTER: must be \"otlp\", since `spoor generate` exports spans over OTLP",
    )?;
    let counts = Arc::new(SpanCounts::default());
    let start = |service: &ServiceName| exporter(service, settings, otlp, &counts);
    let processors: Arc<[BatchProcessor]> =
        args.services.iter().map(start).collect::<Result<_, _>>()?;
    let mut summary = run_schedule(args, &processors, &stop).await;
    drain(processors, args.grace).await?;
    summary.exported = counts.exported();
    let dropped = DropReason::ALL.map(|reason| (reason.to_string(), counts.dropped(reason)));
    let dropped = dropped.into_iter().filter(|(_, spans)| *spans > 0);
    summary.dropped = dropped.collect();
    Ok(summary)
}

/// Starts each trace when it is due, and returns when all have ended.
async fn run_schedule(
    args: &GenerateArgs,
    processors: &Arc<[BatchProcessor]>,
    stop: &CancellationToken,
) -> GenerationSummary {
    let scope = InstrumentationScope::builder(env!("CARGO_PKG_NAME"))
        .with_version(env!("CARGO_PKG_VERSION"))
        .build();
    let started = Instant::now();
    let mut summary = GenerationSummary::default();
    let mut in_progress = JoinSet::new();
    // Without a number of traces, the duration is the only limit, so it needs a default.
    let default = args.traces.is_none().then_some(DEFAULT_DURATION);
    let duration = args.duration.or(default);
    for number in 0..args.traces.unwrap_or(u64::MAX) {
        let due = Duration::from_secs(number) / args.rate;
        if duration.is_some_and(|duration| due >= duration) {
            break;
        }
        tokio::select! {
            () = tokio::time::sleep_until(started + due) => {}
            () = stop.cancelled() => break,
        }
        let trace = args.trace(number, &mut rand::rng());
        let service = &args.services[trace.service];
        summary.count(service.as_str(), trace.spans.len() as u64, trace.has_error);
        if args.trace_ids {
            summary.add_id(trace.id, trace.has_error);
        }
        in_progress.spawn(end_spans(trace, Arc::clone(processors), scope.clone()));
        // Without this, a long run would hold the result of every trace that has ended.
        while in_progress.try_join_next().is_some() {}
    }
    while in_progress.join_next().await.is_some() {}
    summary.seconds = started.elapsed().as_secs_f64();
    summary
}

async fn end_spans(trace: Trace, processors: Arc<[BatchProcessor]>, scope: InstrumentationScope) {
    let (started, system_time) = (Instant::now(), SystemTime::now());
    for span in trace.spans {
        tokio::time::sleep_until(started + span.ends).await;
        processors[span.service].on_end(span.record(system_time, &scope));
    }
}

/// Starts an exporter for a service, as the service's process would.
fn exporter(
    service: &ServiceName,
    settings: &TelemetrySettings,
    otlp: &OtlpSettings,
    counts: &Arc<SpanCounts>,
) -> Result<BatchProcessor, TelemetryStartError> {
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

/// Exports the remaining spans. Spans that are not exported in time are counted as dropped.
async fn drain(processors: Arc<[BatchProcessor]>, grace: Duration) -> anyhow::Result<()> {
    let mut draining = JoinSet::new();
    for processor in &*processors {
        let processor = processor.clone();
        draining.spawn_blocking(move || processor.shutdown_with_timeout(grace));
    }
    while let Some(drained) = draining.join_next().await {
        // If the time was too short, the counts show dropped spans.
        let _in_time = drained.context("cannot export the last spans")?;
    }
    Ok(())
}
