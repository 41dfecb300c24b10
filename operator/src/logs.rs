//! The log, on standard error.

use spoor_runtime::{
    LogLines,
    self_tracing::{SelfTracing, is_own_span},
};
use tracing::Subscriber;
use tracing_subscriber::{
    Layer,
    filter::{FilterExt, filter_fn},
    fmt::{self, MakeWriter},
    layer::SubscriberExt,
    registry::LookupSpan,
    util::SubscriberInitExt,
};

use crate::settings::LogSettings;

/// Starts the log, and the recording of own spans if there is a `self_tracing`. A second call
/// changes nothing.
pub(crate) fn init(log: LogSettings, self_tracing: Option<&SelfTracing>) {
    let registry = tracing_subscriber::registry()
        .with(self_tracing.map(SelfTracing::layer))
        .with(lines(log, std::io::stderr));
    // A program that embeds the operator may have set up a log already.
    let _ = registry.try_init();
}

fn lines<S>(
    log: LogSettings,
    writer: impl for<'w> MakeWriter<'w> + Send + Sync + 'static,
) -> impl Layer<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let lines = fmt::layer()
        .with_writer(writer)
        .event_format(LogLines(log.format));
    // A filter of this layer alone: if the whole registry had it, the log's level would also decide
    // which spans are recorded.
    lines.with_filter(log.filter.and(filter_fn(|metadata| !is_own_span(metadata))))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{
        io::{self, Write},
        sync::Arc,
    };

    use parking_lot::Mutex;
    use spoor_runtime::LogFormat;

    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[rstest::rstest]
    fn own_spans_do_not_change_a_line(
        #[values(LogFormat::Text, LogFormat::Json)] format: LogFormat,
        #[values("info", "warn,spoor_operator=info")] filter: &str,
    ) {
        let filter = filter.parse().unwrap();
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let log = LogSettings { filter, format };
        let registry = tracing_subscriber::registry().with(lines(log, move || writer.clone()));
        tracing::subscriber::with_default(registry, || {
            let _span = tracing::info_span!("reconcile", otel.name = "hidden").entered();
            tracing::info!(version = 7, "published policies");
            tracing::debug!("not logged");
        });
        let text = String::from_utf8(buffer.0.lock().clone()).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains("published policies"), "{text}");
        for hidden in ["reconcile", "otel.name", "span"] {
            assert!(!text.contains(hidden), "{text}");
        }
    }
}
