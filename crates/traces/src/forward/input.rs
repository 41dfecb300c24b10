//! Interruptions of the input.
//!
//! When the only sender of a sampler ends, such as a Collector that is killed, some traces have
//! arrived in part. The services hold the rest of their spans, and repeat them once the sender is
//! back. Until then the sampler postpones its decisions: it would otherwise decide on a part of the
//! trace, and drop a trace whose error is in the rest.

use std::time::{Duration, Instant};

use crate::TailSettings;

/// The longest pause between two attempts of a service to send its spans. `spoor-telemetry` pauses
/// for at most 3 s, and OpenTelemetry's SDK for Java for 5 s unless it is configured otherwise.
const MAX_RETRY_PAUSE: Duration = Duration::from_secs(5);

/// The state of the input, by which decisions are postponed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Input {
    state: InputState,
    /// The time for which decisions are postponed once a sender is connected again.
    ///
    /// The sender connects when it has the first spans, so the service that sent them has already
    /// made its attempt. The others make theirs within [`MAX_RETRY_PAUSE`]. From then on, the spans
    /// of a trace arrive within a decision wait, as they do without an interruption. A decision wait
    /// alone would end while the last service pauses.
    extension: Duration,
    /// The longest time for which an interruption postpones decisions.
    ///
    /// All traces that waited when it began are decided by then. Without this limit, a sender that
    /// never returns would delay the traces of senders over HTTP/1 for ever.
    max_interruption: Duration,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum InputState {
    /// The input has not been interrupted. There may be no sender.
    #[default]
    Uninterrupted,
    /// The last sender ended, and none has connected since.
    Interrupted { since: Instant },
    /// A sender has connected after an interruption.
    Resumed { at: Instant },
}

impl Input {
    pub(super) fn new(settings: &TailSettings) -> Self {
        Self {
            state: InputState::default(),
            extension: settings.decision_wait + MAX_RETRY_PAUSE,
            max_interruption: settings.max_trace_duration,
        }
    }

    /// Records that the last sender has ended.
    pub(super) fn interrupt(&mut self, now: Instant) {
        self.state = InputState::Interrupted { since: now };
    }

    /// Records that a sender has connected; returns the length of the interruption that this ends,
    /// if there was one.
    pub(super) fn resume(&mut self, now: Instant) -> Option<Duration> {
        let InputState::Interrupted { since } = self.state else {
            return None;
        };
        self.state = InputState::Resumed { at: now };
        Some(now.saturating_duration_since(since))
    }

    /// The time, later than now, until which decisions are postponed, if they are.
    ///
    /// During an interruption it is the earliest possible one: a trace that is due then is postponed
    /// again, and no trace waits longer than necessary.
    pub(super) fn postponed_until(&self, now: Instant) -> Option<Instant> {
        let until = match self.state {
            InputState::Uninterrupted => return None,
            InputState::Interrupted { since } => {
                let is_over = now.saturating_duration_since(since) >= self.max_interruption;
                (!is_over).then_some(now)? + self.extension
            }
            InputState::Resumed { at } => at + self.extension,
        };
        (until > now).then_some(until)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn input() -> Input {
        Input::new(&TailSettings {
            decision_wait: 2 * SECOND,
            max_trace_duration: 30 * SECOND,
            ..TailSettings::default()
        })
    }

    #[test]
    fn input_without_interruption_postpones_nothing() {
        let mut input = input();
        let start = Instant::now();
        assert_eq!(input.postponed_until(start), None);
        assert_eq!(input.resume(start), None);
        assert_eq!(input.postponed_until(start), None);
    }

    #[test]
    fn interruption_postpones_until_senders_retried() {
        let mut input = input();
        let start = Instant::now();
        input.interrupt(start);
        let later = start + 3 * SECOND;
        assert_eq!(input.postponed_until(start), Some(start + 7 * SECOND));
        assert_eq!(input.postponed_until(later), Some(start + 10 * SECOND));

        assert_eq!(input.resume(start + 4 * SECOND), Some(4 * SECOND));
        let until = start + 11 * SECOND;
        assert_eq!(input.postponed_until(start + 5 * SECOND), Some(until));
        assert_eq!(input.postponed_until(until), None);
        assert_eq!(input.resume(until), None);
    }

    #[test]
    fn endless_interruption_postpones_no_more() {
        let mut input = input();
        let start = Instant::now();
        input.interrupt(start);
        assert!(input.postponed_until(start + 29 * SECOND).is_some());
        assert_eq!(input.postponed_until(start + 30 * SECOND), None);

        // The services may have kept their spans for longer.
        input.resume(start + 60 * SECOND).unwrap();
        assert!(input.postponed_until(start + 61 * SECOND).is_some());
    }
}
