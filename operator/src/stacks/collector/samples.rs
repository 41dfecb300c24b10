//! A reader of metrics in Prometheus' text format, as the Collector and the sampler write them.

/// One value of one series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MetricSample<'a> {
    /// The name of the metric. Versions of the Collector differ in whether counters end in
    /// `_total`, so that suffix is removed.
    pub name: &'a str,
    /// The labels, in braces; empty if there are none.
    labels: &'a str,
    /// The value.
    pub value: f64,
}

impl<'a> MetricSample<'a> {
    /// All samples in a text. Lines that are not samples are skipped.
    pub fn all(text: &'a str) -> impl Iterator<Item = Self> {
        text.lines().filter_map(Self::read)
    }

    fn read(line: &'a str) -> Option<Self> {
        if line.starts_with('#') {
            return None;
        }
        let (series, value) = line.rsplit_once(' ')?;
        let (name, labels) = series.split_at(series.find('{').unwrap_or(series.len()));
        Some(Self {
            name: name.strip_suffix("_total").unwrap_or(name),
            labels,
            value: value.parse().ok()?,
        })
    }

    /// Returns true if a label has this value.
    #[must_use]
    pub fn has(&self, label: &str, value: &str) -> bool {
        self.labels.contains(&format!("{label}=\"{value}\""))
    }

    /// The value of a label. It must not contain quotation marks.
    #[must_use]
    pub fn label(&self, label: &str) -> Option<&'a str> {
        let (_, value) = self.labels.split_once(&format!("{label}=\""))?;
        value.split('"').next()
    }

    /// The value of a counter or gauge that is a whole number.
    #[must_use]
    pub fn count(&self) -> u64 {
        // Saturates, and turns NaN into 0.
        self.value as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_samples_and_skips_comments() {
        let text = "# TYPE sent_total counter\n\
                    sent_total{exporter=\"otlp/a\",x=\"a b\"} 7\n\
                    uptime 1.5e3\n\
                    broken{ x\n";
        let samples: Vec<_> = MetricSample::all(text).collect();
        assert_eq!(samples.len(), 2, "{samples:?}");
        let names = samples.iter().map(|it| (it.name, it.count()));
        assert!(names.eq([("sent", 7), ("uptime", 1_500)]), "{samples:?}");
        assert!(samples.iter().any(|it| it.has("exporter", "otlp/a")));
        assert!(!samples.iter().any(|it| it.has("exporter", "otlp")));
        let labels: Vec<_> = samples.iter().map(|it| it.label("exporter")).collect();
        assert_eq!(labels, [Some("otlp/a"), None]);
    }
}
