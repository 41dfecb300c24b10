//! A minimal trace: two spans of `my-otel-service`, a parent and its child, made with only
//! OpenTelemetry's own packages.
//!
//! `cargo run -p spoor-telemetry --example trace-by-hand`, with a receiver at
//! `OTEL_EXPORTER_OTLP_ENDPOINT`, by default `http://localhost:4317`.

use std::time::Duration;

use anyhow::Context as _;
use opentelemetry::{
    Context, KeyValue,
    trace::{SpanKind, TraceContextExt, Tracer, TracerProvider},
};
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let exporter = SpanExporter::builder().with_tonic().build()?;
    let provider = SdkTracerProvider::builder()
        .with_resource(
            Resource::builder()
                .with_service_name("my-otel-service")
                .build(),
        )
        .with_batch_exporter(exporter)
        .build();
    let tracer = provider.tracer("trace-by-hand");

    let builder = tracer.span_builder("parent").with_kind(SpanKind::Server);
    let parent = Context::new().with_span(tracer.build_with_context(builder, &Context::new()));
    let child = parent.with_span(tracer.start_with_context("child", &parent));
    child
        .span()
        .set_attribute(KeyValue::new("greeting", "hello"));
    tokio::time::sleep(Duration::from_millis(10)).await;
    child.span().add_event("half time", Vec::new());
    tokio::time::sleep(Duration::from_millis(10)).await;
    child.span().end();
    parent.span().end();

    provider.force_flush().context(
        "cannot export the spans; start a receiver, for example `spoor up`, which listens on port 4317",
    )?;
    let trace = parent.span().span_context().trace_id();
    println!("trace {trace}\nhttp://127.0.0.1:16686/trace/{trace}");
    Ok(())
}
