//! What can be set.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use spoor_policy::Probability;
use tokio_util::sync::CancellationToken;

use crate::{AnyoneOnLoopback, Identify};

/// Bounds, times, and who believes whom.
#[derive(Clone)]
pub struct Settings {
    /// The first half of every version: this control plane's start, in Unix nanoseconds.
    pub epoch: u64,
    /// The most streams at a time; also the most gone processes whose counts are remembered.
    pub max_clients: usize,
    /// The most senders of requests at the stock doors that are remembered, by address and user
    /// agent; others are answered too.
    pub max_polling: usize,
    /// The most services that streams may bring in.
    pub max_services: usize,
    /// A new stream must say hello within this time.
    pub hello_within: Duration,
    /// An instance without a word for this long is silent.
    pub silent_after: Duration,
    /// A stream without a word for this long is closed.
    pub idle_after: Duration,
    /// The window of observed rates.
    pub window: Duration,
    /// How long after the number of instances changes a rate limit is shared out anew, once for
    /// all changes in between.
    pub settle: Duration,
    /// The longest interval at which a stock client that asks again and again counts as polling.
    pub max_polling_interval: Duration,
    /// An unmodified SDK counts as reporting for this long after its last metrics.
    pub reporting_for: Duration,
    /// What stock clients are told where no policy decides: they can't keep their own default.
    pub stock_default: Probability,
    /// Says who a caller is.
    pub identify: Arc<dyn Identify>,
    /// Ends every stream.
    pub shutdown: CancellationToken,
}

impl Default for Settings {
    fn default() -> Self {
        let since_1970 = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            epoch: u64::try_from(since_1970.as_nanos()).unwrap_or(u64::MAX),
            max_clients: 20_000,
            max_polling: 10_000,
            max_services: 10_000,
            hello_within: Duration::from_secs(5),
            silent_after: Duration::from_secs(15),
            idle_after: Duration::from_secs(60),
            window: Duration::from_secs(60),
            settle: Duration::from_millis(100),
            // Five times what OpenTelemetry's SDKs ask at unless they are told otherwise.
            max_polling_interval: Duration::from_secs(300),
            reporting_for: Duration::from_secs(180),
            stock_default: Probability::ALWAYS,
            identify: Arc::new(AnyoneOnLoopback),
            shutdown: CancellationToken::new(),
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("epoch", &self.epoch)
            .field("max_clients", &self.max_clients)
            .field("max_polling", &self.max_polling)
            .field("max_services", &self.max_services)
            .finish_non_exhaustive()
    }
}
