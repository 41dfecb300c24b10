//! The settings of a control plane.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use spoor_policy::Probability;
use spoor_runtime::{Limits, max_connections};
use tokio_util::sync::CancellationToken;

use crate::identity::{AnyoneOnLoopback, Identify};

/// Limits, times, and the identification of clients.
#[derive(Clone, derive_more::Debug)]
pub struct ControlSettings {
    /// The epoch of every version: the start of this control plane, in Unix nanoseconds.
    pub epoch: u64,
    /// The most streams at a time, of processes and samplers together.
    pub max_streams: usize,
    /// The most disconnected processes, the most disconnected samplers, and the most reporters, that
    /// are remembered.
    pub max_clients: usize,
    /// The most senders of polling requests that are remembered, by service, address and user agent.
    /// Others receive strategies but are not counted.
    pub max_polling: usize,
    /// The most services with streams, expected instances or metrics of unmodified SDKs.
    pub max_services: usize,
    /// The longest time that a new stream may take to send its hello, and that its identification may
    /// then take.
    pub hello_timeout: Duration,
    /// The time without a message after which an instance is silent.
    pub silent_after: Duration,
    /// The time without a message after which a stream is closed.
    pub idle_timeout: Duration,
    /// The window of observed rates.
    pub window: Duration,
    /// The delay after a change in the number of instances before rate limits are divided again,
    /// once for all changes during the delay.
    pub settle_delay: Duration,
    /// The longest interval between requests that counts as polling.
    pub max_polling_interval: Duration,
    /// The time after its last metrics for which an unmodified SDK counts as reporting.
    pub reporting_for: Duration,
    /// The probability for polling clients where no policy decides. Jaeger's protocol has no
    /// response that means "use your own default".
    pub polling_default: Probability,
    /// Identifies clients.
    #[debug(skip)]
    pub identify: Arc<dyn Identify>,
    /// Ends every stream when cancelled.
    pub shutdown: CancellationToken,
}

impl Default for ControlSettings {
    fn default() -> Self {
        let since_1970 = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            // Versions of a control plane that starts later must be newer.
            epoch: u64::try_from(since_1970.as_nanos()).unwrap_or(u64::MAX),
            // Streams stay open, so they must leave room for the requests on the same listener, and, if
            // each has a connection of its own, for the connections of health streams and of other
            // clients. A listener of the lab has a third of the connections.
            max_streams: (Limits::default().max_requests / 4 * 3).min(max_connections() / 3 / 2),
            max_clients: 20_000,
            max_polling: 10_000,
            max_services: 10_000,
            hello_timeout: Duration::from_secs(5),
            silent_after: Duration::from_secs(15),
            idle_timeout: Duration::from_secs(60),
            window: Duration::from_secs(60),
            settle_delay: Duration::from_millis(100),
            // Five times the default interval of OpenTelemetry's SDKs.
            max_polling_interval: Duration::from_secs(300),
            reporting_for: Duration::from_secs(180),
            polling_default: Probability::ALWAYS,
            identify: Arc::new(AnyoneOnLoopback),
            shutdown: CancellationToken::new(),
        }
    }
}
