//! An exporter that logs failures. The SDK drops spans silently, unless its feature for internal
//! logs is enabled, which logs each attempt.

use std::sync::atomic::{AtomicBool, Ordering};

use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{SpanData, SpanExporter},
};

#[derive(Debug)]
pub(super) struct LoggedExporter {
    exporter: opentelemetry_otlp::SpanExporter,
    is_failing: AtomicBool,
}

impl LoggedExporter {
    pub(super) fn new(exporter: opentelemetry_otlp::SpanExporter) -> Self {
        Self {
            exporter,
            is_failing: AtomicBool::new(false),
        }
    }
}

// The other methods keep their defaults, as they do in opentelemetry-otlp's exporter.
impl SpanExporter for LoggedExporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let result = self.exporter.export(batch).await;
        // One line for each series of failures. Relaxed suffices, since exports never run
        // concurrently.
        let was_failing = self.is_failing.swap(result.is_err(), Ordering::Relaxed);
        match &result {
            Err(error) if !was_failing => {
                let error = error as &dyn std::error::Error;
                tracing::warn!(
                    error,
                    "cannot export this process's own spans; dropping them"
                );
            }
            Ok(()) if was_failing => tracing::info!("resumed exporting this process's own spans"),
            _ => {}
        }
        result
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
