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
    const SHARE: u32 = 50;
    const TOKEN: u32 = 100;

    pub(super) fn full() -> Self {
        Self {
            hundredths: Self::MAX_TOKENS * Self::TOKEN,
        }
    }

    /// A request is made for the first time.
    pub(super) fn pay_in(&mut self) {
        self.hundredths = (self.hundredths + Self::SHARE).min(Self::MAX_TOKENS * Self::TOKEN);
    }

    /// Takes a token for a retry, if there is one.
    pub(super) fn take(&mut self) -> bool {
        match self.hundredths.checked_sub(Self::TOKEN) {
            Some(left) => {
                self.hundredths = left;
                true
            }
            None => false,
        }
    }

    /// The retry that a token was taken for is not made.
    pub(super) fn give_back(&mut self) {
        self.hundredths = (self.hundredths + Self::TOKEN).min(Self::MAX_TOKENS * Self::TOKEN);
    }

    /// The tokens left.
    pub(super) fn tokens(&self) -> f64 {
        f64::from(self.hundredths) / f64::from(Self::TOKEN)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn starts_full_and_runs_dry() {
        let mut budget = Budget::full();
        assert!((0..Budget::MAX_TOKENS).all(|_| budget.take()));
        assert!(!budget.take());
        budget.pay_in();
        assert!(!budget.take(), "half a token buys nothing");
        budget.pay_in();
        assert!(budget.take() && !budget.take());
    }

    #[test]
    fn what_is_given_back_can_be_taken_again_and_is_no_more_than_it_holds() {
        let mut budget = Budget::full();
        budget.give_back();
        assert_eq!(budget, Budget::full());
        while budget.take() {}
        budget.give_back();
        assert!(budget.take() && !budget.take());
    }

    proptest! {
        #[test]
        fn retries_never_exceed_their_share(requests in prop::collection::vec(any::<bool>(), 0..500)) {
            let mut budget = Budget::full();
            let (mut first, mut retries) = (0_u32, 0_u32);
            for is_retry in requests {
                if is_retry {
                    retries += u32::from(budget.take());
                } else {
                    first += 1;
                    budget.pay_in();
                }
                prop_assert!(budget.tokens() <= f64::from(Budget::MAX_TOKENS));
                prop_assert!(retries <= Budget::MAX_TOKENS + first / 2);
            }
        }
    }
}
