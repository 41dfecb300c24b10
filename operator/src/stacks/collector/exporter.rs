//! The health of the deciding tier's exporter, from the Collector's own metrics.

use super::{decide::JAEGER, samples::MetricSample};

/// The health of the exporter to Jaeger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExporterHealth {
    /// No metrics of a deciding pod were read.
    #[default]
    Unknown,
    /// It sends its queued spans.
    Working,
    /// It cannot send its queued spans.
    Failing,
}

/// A deciding pod's metrics of its exporter to Jaeger, at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ExporterReading {
    queued: f64,
    sent: f64,
    failed: f64,
}

impl ExporterReading {
    /// Reads metrics in Prometheus' text format. An exporter that has done nothing yet has none.
    #[must_use]
    pub fn from_metrics(metrics: &str) -> Self {
        let mut reading = Self::default();
        for sample in MetricSample::all(metrics).filter(|it| it.has("exporter", JAEGER)) {
            match sample.name {
                "otelcol_exporter_queue_size" => reading.queued += sample.value,
                "otelcol_exporter_sent_spans" => reading.sent += sample.value,
                "otelcol_exporter_send_failed_spans" => reading.failed += sample.value,
                _ => {}
            }
        }
        reading
    }

    /// The health of the exporter since an earlier reading of the same pod.
    #[must_use]
    pub fn health_since(&self, earlier: &Self) -> ExporterHealth {
        // With unlimited retries no failure is counted while Jaeger is unavailable; only the queue
        // does not shrink.
        let has_failed = self.failed > earlier.failed;
        let is_stuck = self.queued > 0.0 && earlier.queued > 0.0 && self.sent <= earlier.sent;
        if has_failed || is_stuck {
            ExporterHealth::Failing
        } else {
            ExporterHealth::Working
        }
    }
}
