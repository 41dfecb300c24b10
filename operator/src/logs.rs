//! The log, on standard error.

use spoor_runtime::{LogLines, self_tracing::SelfTracing};
use tracing_subscriber::{Layer, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use crate::settings::LogSettings;

/// Starts the log and, if `self_tracing` is set, the recording of the program's own spans. A second
/// call changes nothing.
pub(crate) fn init(log: LogSettings, self_tracing: Option<&SelfTracing>) {
    let lines = fmt::layer()
        .with_writer(std::io::stderr)
        .event_format(LogLines(log.format))
        // A filter of this layer alone: if the whole registry had it, the log's level would also
        // decide which spans are recorded.
        .with_filter(log.filter);
    let registry = tracing_subscriber::registry()
        .with(self_tracing.map(SelfTracing::layer))
        .with(lines);
    // A program that embeds the operator may have set up a log already.
    let _ = registry.try_init();
}
