//! Whether the deciding tier gets rid of what it keeps, from the Collector's own metrics.

use super::decide::JAEGER;

/// Whether the exporter to Jaeger works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Exporter {
    /// Nobody has looked, or there was nothing to see.
    #[default]
    Unknown,
    /// It sends what it has.
    Working,
    /// It has something and can't send it.
    Failing,
}

/// What the metrics of a deciding pod say of its exporter to Jaeger, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reading {
    queued: f64,
    sent: f64,
    failed: f64,
}

impl Reading {
    /// Reads metrics in Prometheus' text format; an exporter that has done nothing yet has none.
    #[must_use]
    pub fn of(metrics: &str) -> Self {
        let mut reading = Self::default();
        for line in metrics.lines() {
            let Some((series, value)) = line.rsplit_once(' ') else {
                continue;
            };
            let name = series.split('{').next().unwrap_or_default();
            // Collectors differ in whether counters' names end so.
            let field = match name.strip_suffix("_total").unwrap_or(name) {
                "otelcol_exporter_queue_size" => &mut reading.queued,
                "otelcol_exporter_sent_spans" => &mut reading.sent,
                "otelcol_exporter_send_failed_spans" => &mut reading.failed,
                _ => continue,
            };
            if series.contains(&format!("exporter=\"{JAEGER}\"")) {
                *field += value.parse::<f64>().unwrap_or(0.0);
            }
        }
        reading
    }

    /// What became of the exporter since an earlier reading of the same pod.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Exporter {
        let fails = self.failed > earlier.failed;
        let stuck = self.queued > 0.0 && earlier.queued > 0.0 && self.sent <= earlier.sent;
        if fails || stuck {
            Exporter::Failing
        } else {
            Exporter::Working
        }
    }
}
