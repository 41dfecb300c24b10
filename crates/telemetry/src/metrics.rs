//! Metrics for Prometheus: requests (rate, errors, duration), spans, sampling, the process.
//!
//! The names for requests are those of the semantic conventions as OpenTelemetry's Prometheus
//! compatibility document translates them: `http.server.request.duration` in seconds is
//! `http_server_request_duration_seconds`. A bucket of a duration carries an exemplar: the trace of
//! the last sampled request in it.

mod exemplar;
mod operation;
mod process;
mod sampling;

use std::{fmt, sync::Arc};

use parking_lot::Mutex;
use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeMetric, text},
    registry::{Registry, Unit},
};

use crate::{batch::SpanCounts, sampler::Live};

pub(crate) use operation::{OTHER, Operation, Operations, Outcome, Side};

/// All of a process's metrics.
#[derive(derive_more::Debug)]
#[debug("Metrics")]
pub struct Metrics {
    registry: Mutex<Registry>,
    pub(crate) http_server: Arc<Operations>,
    pub(crate) http_client: Arc<Operations>,
    pub(crate) rpc_server: Arc<Operations>,
    pub(crate) rpc_client: Arc<Operations>,
}

impl Metrics {
    pub(crate) fn new(counts: Arc<SpanCounts>, live: Arc<Live>) -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(sampling::Spans(counts)));
        registry.register_collector(Box::new(sampling::Roots(live)));
        registry.register_collector(Box::new(process::Process::new()));
        let mut operations = |side| Arc::new(Operations::register(side, &mut registry));
        Self {
            http_server: operations(Side::HttpServer),
            http_client: operations(Side::HttpClient),
            rpc_server: operations(Side::RpcServer),
            rpc_client: operations(Side::RpcClient),
            registry: Mutex::new(registry),
        }
    }

    /// Adds a service's own metrics.
    pub fn register(&self, add: impl FnOnce(&mut Registry)) {
        add(&mut self.registry.lock());
    }

    /// All metrics in the OpenMetrics text format.
    ///
    /// # Errors
    /// A metric cannot be written.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        text::encode(&mut text, &self.registry.lock())?;
        Ok(text)
    }
}

/// Writes a metric that is one number, for a collector.
fn encode(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    number: impl EncodeMetric,
) -> fmt::Result {
    let kind = number.metric_type();
    number.encode(encoder.encode_descriptor(name, help, unit, kind)?)
}
