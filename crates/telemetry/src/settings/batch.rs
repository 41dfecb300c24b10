//! The settings of the batch processor.

use std::time::Duration;

use spoor_runtime::Environment;

/// The settings for the longest text. The more specific one takes precedence, as the specification
/// requires.
const LENGTH_LIMIT_SETTINGS: [&str; 2] = [
    "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
];

/// The batch processor's bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchSettings {
    /// `OTEL_BSP_SCHEDULE_DELAY` (ms): the longest time that a span waits for its batch to
    /// fill. Default: 1 s, so that traces appear quickly.
    pub schedule_delay: Duration,
    /// `OTEL_BSP_MAX_QUEUE_SIZE`: the most spans that wait. Their total size is limited as well, to
    /// 2 KiB times this number. Default: 65 536, enough for a burst with everything sampled, and
    /// for a receiver's restart.
    pub max_queue_size: usize,
    /// `OTEL_BSP_MAX_EXPORT_BATCH_SIZE`: the most spans in a batch. Default: 512.
    pub max_export_batch_size: usize,
    /// `OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT`, else `OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT`: the
    /// most characters of an attribute's value, the name of a span or event, or a status
    /// description. Default: 4096. The specification's default is no limit, with which a client
    /// could fill the queue and the batches with long URLs.
    pub max_text_chars: usize,
    /// `OTEL_BSP_EXPORT_TIMEOUT` (ms): the deadline of one attempt. Default: 30 s.
    pub export_timeout: Duration,
    /// The time for which a batch is retried, from its first attempt: longer than a rollout of
    /// the receiver. Default: 120 s.
    pub retry_budget: Duration,
    /// The most batches that are sent concurrently. Default: 4.
    pub max_exports: usize,
}

impl Default for BatchSettings {
    fn default() -> Self {
        Self {
            schedule_delay: Duration::from_secs(1),
            max_queue_size: 65_536,
            max_export_batch_size: 512,
            max_text_chars: 4096,
            export_timeout: Duration::from_secs(30),
            retry_budget: Duration::from_secs(120),
            max_exports: 4,
        }
    }
}

pub(super) fn read(environment: &mut Environment<'_>) -> BatchSettings {
    let default = BatchSettings::default();
    let limit = environment.first(&LENGTH_LIMIT_SETTINGS);
    let limit = limit.map_or(LENGTH_LIMIT_SETTINGS[0], |(setting, _)| setting);
    let max_queue_size = environment.number("OTEL_BSP_MAX_QUEUE_SIZE", 1, default.max_queue_size);
    let batch = environment.number(
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
        1,
        default.max_export_batch_size,
    );
    BatchSettings {
        schedule_delay: environment
            .milliseconds(&["OTEL_BSP_SCHEDULE_DELAY"], default.schedule_delay),
        max_queue_size,
        // The specification: it must be less than or equal to the queue's size.
        max_export_batch_size: batch.min(max_queue_size),
        max_text_chars: environment.number(limit, 1, default.max_text_chars),
        export_timeout: environment
            .milliseconds(&["OTEL_BSP_EXPORT_TIMEOUT"], default.export_timeout),
        ..default
    }
}
