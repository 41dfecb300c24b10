//! Strategies for the decision at the start of a trace.

use crate::Probability;

/// The strategy for the decision at the start of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, derive_more::Display)]
pub enum Strategy {
    /// Keeps each trace with this probability, consistently by its ID.
    Probability(Probability),
    /// Keeps at most this rate of traces, over all instances of the service.
    RateLimit(TracesPerSecond),
}

/// A whole number of traces per second, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, derive_more::Display)]
#[display("{_0}/s")]
pub struct TracesPerSecond(u32);

/// The error for a number that is not a [`TracesPerSecond`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a whole number from 1 to {max}, not {found}", max = TracesPerSecond::MAX)]
pub struct InvalidRate {
    /// The number found.
    pub found: i64,
}

impl TracesPerSecond {
    /// The largest number allowed.
    pub const MAX: u32 = 1_000_000;

    /// Validates a number.
    ///
    /// # Errors
    /// [`InvalidRate`] below 1 and above [`TracesPerSecond::MAX`].
    pub fn new(number: i64) -> Result<Self, InvalidRate> {
        match u32::try_from(number) {
            Ok(rate) if (1..=Self::MAX).contains(&rate) => Ok(Self(rate)),
            _ => Err(InvalidRate { found: number }),
        }
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0
    }

    /// The share of one of several instances.
    #[must_use]
    pub fn share(self, instances: usize) -> f64 {
        let instances = u32::try_from(instances.max(1)).unwrap_or(u32::MAX);
        f64::from(self.0) / f64::from(instances)
    }

    /// The share for clients that accept only whole numbers: rounded up, at least 1.
    #[must_use]
    pub fn whole_share(self, instances: usize) -> u32 {
        let instances = u32::try_from(instances.max(1)).unwrap_or(u32::MAX);
        // Rounding down would turn a small limit into 0, which stops the service's traces.
        self.0.div_ceil(instances).max(1)
    }
}
