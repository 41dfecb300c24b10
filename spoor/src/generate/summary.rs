//! The summary of what was sent.

use std::{collections::BTreeMap, fmt};

use opentelemetry::TraceId;
use serde::Serialize;

/// The result of `spoor generate`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GenerationSummary {
    /// The traces sent.
    pub(super) traces: u64,
    /// The traces with an error.
    pub(super) errors: u64,
    /// The spans of all traces.
    pub(super) spans: u64,
    /// The spans that the receiver accepted.
    pub(super) exported: u64,
    /// The other spans, which were dropped, by reason.
    pub(super) dropped: BTreeMap<String, u64>,
    /// The duration from the start until the last trace has ended.
    pub(super) seconds: f64,
    /// The traces by the service at which they start.
    pub(super) services: BTreeMap<String, TraceCounts>,
    /// The IDs of the traces, with `--trace-ids`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) trace_ids: Option<TraceIds>,
}

/// The traces that start at one service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TraceCounts {
    pub(super) traces: u64,
    pub(super) errors: u64,
}

/// The IDs of all traces, in lower-case hexadecimal digits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TraceIds {
    pub(super) with_error: Vec<String>,
    pub(super) without_error: Vec<String>,
}

impl GenerationSummary {
    pub(super) fn count(&mut self, service: &str, spans: u64, has_error: bool) {
        let started = self.services.entry(service.to_owned()).or_default();
        self.traces += 1;
        self.spans += spans;
        started.traces += 1;
        if has_error {
            self.errors += 1;
            started.errors += 1;
        }
    }

    /// Adds the ID of a trace to the lists.
    pub(super) fn add_id(&mut self, trace: TraceId, has_error: bool) {
        let ids = self.trace_ids.get_or_insert_default();
        let ids = match has_error {
            true => &mut ids.with_error,
            false => &mut ids.without_error,
        };
        ids.push(trace.to_string());
    }
}

impl fmt::Display for GenerationSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} traces with {} spans in {:.1} s, {} with an error; {} spans exported",
            self.traces, self.spans, self.seconds, self.errors, self.exported
        )?;
        for (service, started) in &self.services {
            writeln!(
                f,
                "  {:>10} traces start at {service}, {} with an error",
                started.traces, started.errors
            )?;
        }
        for (reason, spans) in &self.dropped {
            writeln!(f, "  spans dropped: {reason:<15} {spans:>10}")?;
        }
        Ok(())
    }
}
