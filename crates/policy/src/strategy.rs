//! How a service decides at the head of a trace.

use std::fmt;

use crate::Probability;

/// What decides where a trace starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Strategy {
    /// Each trace is kept with this probability, consistently by its id.
    Probability(Probability),
    /// At most so many traces a second are kept, of the service as a whole.
    RateLimit(TracesPerSecond),
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Probability(probability) => probability.fmt(f),
            Self::RateLimit(rate) => rate.fmt(f),
        }
    }
}

/// Whole traces a second, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TracesPerSecond(u32);

/// Why a number is no [`TracesPerSecond`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a whole number from 1 to {max}, not {found}", max = TracesPerSecond::MAX)]
pub struct InvalidRate {
    /// The number found.
    pub found: i64,
}

impl TracesPerSecond {
    /// The most that can be asked for.
    pub const MAX: u32 = 1_000_000;

    /// Checks the number.
    ///
    /// # Errors
    /// [`InvalidRate`] under 1 and over [`TracesPerSecond::MAX`].
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

    /// What one of so many instances may keep.
    #[must_use]
    pub fn share(self, instances: usize) -> f64 {
        let instances = u32::try_from(instances.max(1)).unwrap_or(u32::MAX);
        f64::from(self.0) / f64::from(instances)
    }

    /// The same for clients that take whole numbers: rounded up, at least 1.
    #[must_use]
    pub fn whole_share(self, instances: usize) -> u32 {
        let instances = u32::try_from(instances.max(1)).unwrap_or(u32::MAX);
        self.0.div_ceil(instances).max(1)
    }
}

impl fmt::Display for TracesPerSecond {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", self.0)
    }
}
