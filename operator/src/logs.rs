//! The log, on standard error.

use spoor_runtime::self_tracing::{SelfTracing, is_own_span};
use tracing_subscriber::{
    Layer,
    filter::{FilterExt, filter_fn},
    fmt,
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::settings::{LogFormat, LogSettings};

/// Starts the log, and the recording of own spans if there is a `self_tracing`. A second call
/// changes nothing.
pub(crate) fn init(log: LogSettings, self_tracing: Option<&SelfTracing>) {
    // Filters of the layer, since a filter of the whole registry would let the log's level decide
    // which spans are recorded.
    let filter = log.filter.and(filter_fn(|metadata| !is_own_span(metadata)));
    let registry = tracing_subscriber::registry().with(self_tracing.map(SelfTracing::layer));
    let lines = fmt::layer().with_writer(std::io::stderr);
    // A program that embeds the operator may have set up a log already.
    let _ = match log.format {
        LogFormat::Text => registry.with(lines.with_filter(filter)).try_init(),
        LogFormat::Json => {
            let lines = lines.json().flatten_event(true);
            registry.with(lines.with_filter(filter)).try_init()
        }
    };
}
