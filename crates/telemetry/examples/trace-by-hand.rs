//! The smallest trace there is: two spans of `my-otel-service`, a parent and its child, made by
//! hand through OpenTelemetry's own API.
//!
//! `cargo run -p spoor-telemetry --example trace-by-hand`, with a receiver at
//! `OTEL_EXPORTER_OTLP_ENDPOINT`, by default `http://127.0.0.1:4317`.

use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use opentelemetry::{
    Context, KeyValue,
    trace::{SpanKind, TraceContextExt, Tracer},
};
use spoor_policy::ServiceName;
use spoor_telemetry::{Settings, Telemetry, settings::SettingError};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let settings = Settings::read(variable).map_err(|errors| anyhow!(lines(&errors)))?;
    let settings = settings.or_service(ServiceName::new("my-otel-service")?);
    let telemetry = Telemetry::start(settings)?;
    let tracer = telemetry
        .tracer()
        .context("OTEL_SDK_DISABLED: must not be \"true\" here")?;

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

    let trace = parent.span().span_context().trace_id();
    let drained = telemetry.shutdown(Duration::from_secs(10)).await;
    if drained.exported < 2 {
        bail!(
            "{} of 2 spans were exported: is there a receiver?",
            drained.exported
        );
    }
    println!("trace {trace}\nhttp://127.0.0.1:16686/trace/{trace}");
    Ok(())
}

fn variable(name: &str) -> Option<String> {
    let local = (name == "OTEL_EXPORTER_OTLP_ENDPOINT").then(|| "http://127.0.0.1:4317".to_owned());
    std::env::var(name).ok().or(local)
}

fn lines(errors: &[SettingError]) -> String {
    errors
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}
