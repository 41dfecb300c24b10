//! Faults: delays and errors that a service injects into its own requests.

use std::time::Duration;

use crate::{OperationName, Probability};

/// A fault to inject into the requests that a service receives.
///
/// The control plane, which publishes faults, and the services, which inject them, share this type,
/// so that no fault is accepted by one and ignored by the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The name of the server span. If unset, the fault applies to every operation that has none of
    /// its own.
    pub operation: Option<OperationName>,
    /// The time that each request waits before it is handled.
    pub delay: FaultDelay,
    /// The share of requests that fail instead of being handled.
    pub error_rate: Probability,
}

/// The delay of a fault: at most one minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct FaultDelay(Duration);

/// The error for a delay that is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be at most {max} s", max = FaultDelay::MAX.as_secs())]
pub struct InvalidFaultDelay;

impl FaultDelay {
    /// The longest delay. A longer one would only hold connections open, since callers time out
    /// first.
    pub const MAX: Duration = Duration::from_secs(60);
    /// No delay.
    pub const NONE: Self = Self(Duration::ZERO);

    /// Validates a delay.
    ///
    /// # Errors
    /// [`InvalidFaultDelay`] if it is longer than [`FaultDelay::MAX`].
    pub fn new(delay: Duration) -> Result<Self, InvalidFaultDelay> {
        let is_allowed = delay <= Self::MAX;
        is_allowed.then_some(Self(delay)).ok_or(InvalidFaultDelay)
    }

    /// The delay as a duration.
    #[must_use]
    pub fn duration(self) -> Duration {
        self.0
    }

    /// The delay in whole milliseconds, which always fit.
    #[must_use]
    pub fn as_millis(self) -> u32 {
        u32::try_from(self.0.as_millis()).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delay_is_at_most_a_minute() {
        let minute = Duration::from_secs(60);
        assert_eq!(
            FaultDelay::new(minute).map(FaultDelay::as_millis),
            Ok(60_000)
        );
        let longer = FaultDelay::new(minute + Duration::from_millis(1));
        assert_eq!(longer, Err(InvalidFaultDelay));
        assert_eq!(InvalidFaultDelay.to_string(), "must be at most 60 s");
    }
}
