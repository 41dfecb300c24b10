//! Counts and latencies of requests.

use std::{collections::BTreeMap, time::Duration};

use hdrhistogram::{CreationError, Histogram};
use http::StatusCode;
use serde::Serialize;

/// The longest latency recorded, one hour in microseconds. Longer ones are recorded as this value.
pub(super) const MAX_LATENCY_MICROS: u64 = 3_600_000_000;

/// The trace of a slow request.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SlowTrace {
    /// The trace ID.
    pub trace_id: String,
    /// The latency of the request.
    pub milliseconds: f64,
}

/// The result of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, derive_more::Display)]
pub(super) enum RequestResult {
    /// A response with this status.
    #[display("{}", _0.as_u16())]
    Status(StatusCode),
    /// No connection could be opened.
    #[display("not connected")]
    NotConnected,
    /// The connection ended before the response was complete.
    #[display("connection lost")]
    Disconnected,
    /// The response did not arrive in time.
    #[display("timed out")]
    TimedOut,
}

impl RequestResult {
    /// True if there was a response, and its status is neither 4xx nor 5xx.
    pub(super) fn is_success(self) -> bool {
        matches!(self, Self::Status(status) if !status.is_client_error() && !status.is_server_error())
    }
}

/// A request that has ended.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    pub(super) result: RequestResult,
    pub(super) latency: Duration,
    /// The trace ID, if the trace was sampled.
    pub(super) trace: Option<String>,
}

/// Counts and latencies of a group of requests.
#[derive(Clone, Debug)]
pub(super) struct RequestStats {
    pub(super) results: BTreeMap<RequestResult, u64>,
    /// The slowest request whose trace was sampled.
    pub(super) slowest: Option<SlowTrace>,
    latency: Histogram<u64>,
}

impl RequestStats {
    pub(super) fn new() -> Result<Self, CreationError> {
        Ok(Self {
            results: BTreeMap::new(),
            slowest: None,
            // Three significant digits: percentiles are within 0.1 %.
            latency: Histogram::new_with_max(MAX_LATENCY_MICROS, 3)?,
        })
    }

    pub(super) fn count(&mut self, outcome: &Outcome) {
        *self.results.entry(outcome.result).or_default() += 1;
        // A latency beyond the limit counts as the limit, so that no request is missing.
        self.latency.saturating_record(micros(outcome.latency));
        let milliseconds = outcome.latency.as_secs_f64() * 1e3;
        let is_slower = |slowest: &SlowTrace| milliseconds > slowest.milliseconds;
        if let Some(trace) = &outcome.trace
            && self.slowest.as_ref().is_none_or(is_slower)
        {
            self.slowest = Some(SlowTrace {
                trace_id: trace.clone(),
                milliseconds,
            });
        }
    }

    /// The latency at a percentile, in milliseconds.
    pub(super) fn percentile(&self, percentile: f64) -> f64 {
        milliseconds(self.latency.value_at_percentile(percentile))
    }
}

/// The latency in microseconds, as histograms hold it.
pub(super) fn micros(latency: Duration) -> u64 {
    u64::try_from(latency.as_micros()).unwrap_or(MAX_LATENCY_MICROS)
}

pub(super) fn milliseconds(micros: u64) -> f64 {
    micros as f64 / 1e3
}
