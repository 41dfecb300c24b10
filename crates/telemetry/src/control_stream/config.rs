//! The configuration of the control stream.

use std::{sync::Arc, time::Duration};

use spoor_policy::ServiceName;
use tonic::transport::Endpoint;

use crate::{batch::SpanCounts, credentials::Credentials, faults::Faults, sampler::Live};

/// The stream's configuration, and the shared state that it reads and writes.
#[derive(Clone, derive_more::Debug)]
#[debug("ControlStream({service}, {instance:?})")]
pub struct ControlStream {
    /// The control plane's address, such as `http://127.0.0.1:5779`.
    pub endpoint: Endpoint,
    /// The files that secure the stream.
    pub credentials: Credentials,
    /// The service whose plan is requested.
    pub service: ServiceName,
    /// OpenTelemetry's `service.instance.id`.
    pub instance: String,
    /// The ID of this process, which is one run of the instance.
    pub start: String,
    /// Receives the plans.
    pub live: Arc<Live>,
    /// Receives the faults.
    pub faults: Arc<Faults>,
    /// The exporter's counts of spans.
    pub spans: Arc<SpanCounts>,
    /// The intervals and deadlines.
    pub intervals: Intervals,
}

/// The stream's intervals and deadlines.
#[derive(Clone, Copy, Debug)]
pub struct Intervals {
    /// Minimum interval between two reports.
    pub report: Duration,
    /// Maximum interval between two reports, even if nothing has changed.
    pub heartbeat: Duration,
    /// Deadline for connecting, for opening the stream, and for sending each message.
    pub deadline: Duration,
    /// Deadline for the final report on shutdown.
    pub shutdown_notice: Duration,
    /// Maximum delay between two attempts to connect.
    pub max_retry_delay: Duration,
    /// Maximum delay between two attempts while the control plane denies access.
    pub max_denied_delay: Duration,
    /// Interval and timeout of HTTP/2 pings.
    pub keep_alive: Duration,
}

impl Default for Intervals {
    fn default() -> Self {
        Self {
            report: Duration::from_millis(500),
            heartbeat: Duration::from_secs(5),
            deadline: Duration::from_secs(2),
            shutdown_notice: Duration::from_secs(1),
            max_retry_delay: Duration::from_millis(800),
            max_denied_delay: Duration::from_secs(10),
            keep_alive: Duration::from_secs(5),
        }
    }
}
