//! Self-tracing: the traces that a process records of its own work.
//!
//! The spans are those that Spoor's crates create with the macros of `tracing`. They are exported
//! as OTLP over gRPC, configured by OpenTelemetry's standard variables. This module reads the
//! variables of the endpoint, the protocol, the sampler and the service's name, and those that turn
//! tracing off. The SDK itself reads `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_BSP_…`, and the exporter
//! reads `OTEL_EXPORTER_OTLP_HEADERS`, `…_TIMEOUT` and `…_COMPRESSION`.
//!
//! The services record their requests with `spoor-telemetry` instead, whose sampler follows
//! policies.

mod exporter;
mod settings;

use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tonic::transport::ClientTlsConfig;
use tracing::{Level, Metadata, Span, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{Layer, filter::filter_fn, registry::LookupSpan};

use exporter::LoggedExporter;
pub use settings::SelfTracingSettings;

/// The longest time for the last export when the process ends. A Collector in the cluster needs
/// milliseconds. If it is unreachable, the process must still end before the kubelet kills it.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(3);

/// The export of a process's own spans, until [`SelfTracing::shutdown`].
#[derive(Debug)]
pub struct SelfTracing {
    provider: SdkTracerProvider,
}

impl SelfTracing {
    /// Starts the export, if the settings name a receiver. `instance` becomes
    /// `service.instance.id`. Must be called within a Tokio runtime, which the connection to the
    /// receiver needs. An unreachable receiver is not an error.
    ///
    /// # Errors
    /// An error if a variable that the exporter reads itself is invalid.
    pub fn start(
        settings: &SelfTracingSettings,
        instance: &str,
    ) -> Result<Option<Self>, ExporterBuildError> {
        let Some(settings) = &settings.export else {
            return Ok(None);
        };
        let mut exporter = SpanExporter::builder()
            .with_tonic()
            .with_endpoint(settings.endpoint.to_string());
        if settings.endpoint.scheme() == Some(&http::uri::Scheme::HTTPS) {
            // By default, tonic trusts no certificate authority.
            exporter = exporter.with_tls_config(ClientTlsConfig::new().with_enabled_roots());
        }
        let provider = SdkTracerProvider::builder()
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(
                settings.probability,
            ))))
            .with_resource(settings.resource(instance))
            .with_batch_exporter(LoggedExporter::new(exporter.build()?))
            .build();
        Ok(Some(Self { provider }))
    }

    /// A layer that records the spans of Spoor's crates. Lines that [`LogLines`](crate::LogLines)
    /// formats within a span have its IDs.
    pub fn layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    {
        // Threads, source locations and busy times would double a span's size, and its name already
        // identifies the place in the code.
        tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer("spoor"))
            .with_threads(false)
            .with_location(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_filter(filter_fn(is_recorded).with_max_level_hint(LevelFilter::INFO))
    }

    /// Exports the spans that have ended, for at most three seconds, and stops.
    pub async fn shutdown(self) {
        // The SDK blocks the thread while it waits, and the export needs this runtime's threads.
        let stopped = tokio::task::spawn_blocking(move || {
            self.provider.shutdown_with_timeout(SHUTDOWN_TIMEOUT)
        });
        match stopped.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "cannot export this process's last spans");
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, "the export of this process's spans has panicked");
            }
        }
    }
}

/// Records that the work of a span failed. The span has to declare both fields as
/// [`tracing::field::Empty`], since a span's fields are fixed when it is created.
pub fn record_error(span: &Span, error: &str) {
    span.record("otel.status_code", "ERROR");
    span.record("otel.status_description", error);
}

fn is_recorded(metadata: &Metadata<'_>) -> bool {
    // Warnings and errors explain a span's outcome, and there are few: one for each series of
    // failures. Other lines are in the log only; as events they would be encoded and stored a second
    // time.
    is_own(metadata) && (metadata.is_span() || *metadata.level() <= Level::WARN)
}

/// Returns whether a span or event comes from one of Spoor's crates, by its target.
// The exporter's own client creates spans in hyper, h2 and tonic. If they were recorded, each
// export would cause another one.
fn is_own(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    target == "spoor" || target.starts_with("spoor::") || target.starts_with("spoor_")
}
