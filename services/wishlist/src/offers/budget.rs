//! The retry budget: a token bucket that requests fill and retries empty.

/// The retry budget, which all requests to one peer share.
///
/// Each request adds a share of a token and each retry takes a whole one, so that retries add at
/// most that share to the load of a failing peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Budget {
    hundredths: u32,
}

impl Budget {
    /// The most tokens, and the initial number, which covers single failures at low load.
    pub(super) const MAX_TOKENS: u32 = 10;
    /// The share that a request adds, in hundredths of a token.
    const SHARE_HUNDREDTHS: u32 = 50;
    const TOKEN_HUNDREDTHS: u32 = 100;
    const MAX_HUNDREDTHS: u32 = Self::MAX_TOKENS * Self::TOKEN_HUNDREDTHS;

    pub(super) fn full() -> Self {
        Self {
            hundredths: Self::MAX_HUNDREDTHS,
        }
    }

    /// Adds the share of a request's first attempt.
    pub(super) fn deposit(&mut self) {
        self.hundredths = (self.hundredths + Self::SHARE_HUNDREDTHS).min(Self::MAX_HUNDREDTHS);
    }

    /// Takes a token for a retry. Returns false if there is none.
    pub(super) fn withdraw(&mut self) -> bool {
        let left = self.hundredths.checked_sub(Self::TOKEN_HUNDREDTHS);
        self.hundredths = left.unwrap_or(self.hundredths);
        left.is_some()
    }

    /// Returns the token of a retry that is not made.
    pub(super) fn refund(&mut self) {
        self.hundredths = (self.hundredths + Self::TOKEN_HUNDREDTHS).min(Self::MAX_HUNDREDTHS);
    }

    /// The tokens left.
    pub(super) fn tokens(&self) -> f64 {
        f64::from(self.hundredths) / f64::from(Self::TOKEN_HUNDREDTHS)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn starts_full_and_runs_dry() {
        let mut budget = Budget::full();
        assert!((0..Budget::MAX_TOKENS).all(|_| budget.withdraw()));
        assert!(!budget.withdraw());
        budget.deposit();
        assert!(!budget.withdraw(), "half a token is not enough");
        budget.deposit();
        assert!(budget.withdraw() && !budget.withdraw());
    }

    #[test]
    fn a_refund_restores_a_token_up_to_the_maximum() {
        let mut budget = Budget::full();
        budget.refund();
        assert_eq!(budget, Budget::full());
        while budget.withdraw() {}
        budget.refund();
        assert!(budget.withdraw() && !budget.withdraw());
    }

    proptest! {
        #[test]
        fn retries_never_exceed_their_share(requests in prop::collection::vec(any::<bool>(), 0..500)) {
            let mut budget = Budget::full();
            let (mut first, mut retries) = (0_u32, 0_u32);
            for is_retry in requests {
                if is_retry {
                    retries += u32::from(budget.withdraw());
                } else {
                    first += 1;
                    budget.deposit();
                }
                prop_assert!(budget.tokens() <= f64::from(Budget::MAX_TOKENS));
                prop_assert!(retries <= Budget::MAX_TOKENS + first / 2);
            }
        }
    }
}
