//! The service's own sampling, without a policy.

use spoor_policy::Probability;

/// The service's own default: before the first plan, and where a plan leaves it to the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fallback(Probability);

impl Fallback {
    /// The probability with which root spans are kept.
    #[must_use]
    pub fn probability(self) -> Probability {
        self.0
    }
}

impl Default for Fallback {
    /// Everything.
    fn default() -> Self {
        Self(Probability::ALWAYS)
    }
}

impl From<Probability> for Fallback {
    fn from(probability: Probability) -> Self {
        Self(probability)
    }
}
