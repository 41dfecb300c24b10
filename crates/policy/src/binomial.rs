//! The binomial distribution, precise for large numbers and far into its tails.
//!
//! Masses come from Loader's saddle-point form ("Fast and Accurate Computation of Binomial
//! Probabilities", 2000), in which no large terms cancel. Tails are summed away from the mode,
//! where all masses are positive and decreasing, until further ones no longer change the sum.

use std::f64::consts::TAU;

use crate::Probability;

/// A number of trials, each with the same probability of success.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Binomial {
    trials: u64,
    success: f64,
    failure: f64,
}

/// The ratio up to which two masses count as equal: masses that are equal by symmetry may differ in
/// their last digits.
const MAX_MASS_RATIO: f64 = 1.0 + 1e-7;

impl Binomial {
    /// Creates a distribution from probabilities that add up to 1.
    ///
    /// Both are given, since computing the smaller from the larger would lose its precision.
    pub(crate) fn new(trials: u64, success: f64, failure: f64) -> Self {
        Self {
            trials,
            success,
            failure,
        }
    }

    pub(crate) fn of(trials: u64, probability: Probability) -> Self {
        let (success, failure) = (probability.as_f64(), probability.complement().as_f64());
        Self::new(trials, success, failure)
    }

    pub(crate) fn mean(&self) -> f64 {
        self.trials as f64 * self.success
    }

    pub(crate) fn variance(&self) -> f64 {
        self.mean() * self.failure
    }

    /// Half the deviance of the number of successes that is this far from the mean.
    pub(crate) fn half_deviance(&self, distance: f64) -> f64 {
        let failures = self.trials as f64 * self.failure;
        // Rounding of huge numbers could result in a number that has no logarithm.
        let half = |mean: f64, distance: f64| deviance((mean + distance).max(0.5), mean);
        half(self.mean(), distance) + half(failures, -distance)
    }

    /// The most probable number of successes.
    pub(crate) fn mode(&self) -> u64 {
        // The whole part of (n + 1)p, which is n + 1 where success is certain.
        (((self.trials as f64 + 1.0) * self.success) as u64).min(self.trials)
    }

    /// The probability of exactly this number of successes.
    pub(crate) fn mass(&self, successes: u64) -> f64 {
        self.log_mass(successes).exp()
    }

    /// The probability of at most this number of successes, which must not be above the mode.
    pub(crate) fn at_most(&self, successes: u64) -> f64 {
        // Mirrored, so that this tail is also summed away from the mode, where its terms fall.
        self.mirrored().at_least(self.trials - successes)
    }

    /// The probability of at least this number of successes, which must not be below the mode.
    pub(crate) fn at_least(&self, successes: u64) -> f64 {
        let (log_mass, sum) = self.upper_tail(successes);
        log_mass.exp() * sum
    }

    /// The same probability in two factors: the logarithm of the mass there, and the tail in units
    /// of that mass. The product itself may be too small for an `f64`.
    pub(crate) fn upper_tail(&self, successes: u64) -> (f64, f64) {
        let odds = self.success / self.failure;
        let (mut term, mut sum) = (1.0, 1.0);
        for at in successes..self.trials {
            term *= (self.trials - at) as f64 / (at + 1) as f64 * odds;
            sum += term;
            // Smaller terms no longer change the sum.
            if term < sum * 1e-17 {
                break;
            }
        }
        (self.log_mass(successes), sum)
    }

    /// The first number above the mode whose mass is at most this one, if any.
    pub(crate) fn first_above(&self, mode: u64, mass: f64) -> Option<u64> {
        // Masses only fall above the mode, so a binary search finds the place.
        let (mut low, mut high) = (mode.saturating_add(1), self.trials.saturating_add(1));
        while low < high {
            let middle = low + (high - low) / 2;
            if self.mass(middle) <= mass * MAX_MASS_RATIO {
                high = middle
            } else {
                low = middle + 1
            }
        }
        (low <= self.trials).then_some(low)
    }

    /// The last number below the mode whose mass is at most this one, if any.
    pub(crate) fn last_below(&self, mode: u64, mass: f64) -> Option<u64> {
        let mirrored = self.mirrored().first_above(self.trials - mode, mass)?;
        Some(self.trials - mirrored)
    }

    /// The distribution of failures.
    fn mirrored(&self) -> Self {
        Self::new(self.trials, self.failure, self.success)
    }

    fn log_mass(&self, successes: u64) -> f64 {
        let (n, k) = (self.trials as f64, successes as f64);
        let rest = (self.trials - successes) as f64;
        // Loader's form would multiply zero by the logarithm of zero here, and at both ends below.
        if self.success == 0.0 || self.failure == 0.0 {
            let certain = self.success == 0.0 && k == 0.0 || self.failure == 0.0 && rest == 0.0;
            return if certain { 0.0 } else { f64::NEG_INFINITY };
        }
        if successes == 0 {
            return n * log_complement(self.success, self.failure);
        }
        if successes == self.trials {
            return n * log_complement(self.failure, self.success);
        }
        stirling_error(n)
            - stirling_error(k)
            - stirling_error(rest)
            - deviance(k, n * self.success)
            - deviance(rest, n * self.failure)
            + 0.5 * (n / (TAU * k * rest)).ln()
    }
}

/// ln(1 - share), computed from the more precise of share and complement.
fn log_complement(share: f64, complement: f64) -> f64 {
    if share < 0.5 {
        (-share).ln_1p()
    } else {
        complement.ln()
    }
}

/// ln(n!) less Stirling's ln(√(2πn) (n/e)ⁿ).
fn stirling_error(n: f64) -> f64 {
    // The series below is not precise enough for small numbers.
    if n < 16.0 {
        let log_factorial: f64 = (2..=n as u32).map(|i| f64::from(i).ln()).sum();
        return log_factorial - (n + 0.5) * n.ln() + n - 0.5 * TAU.ln();
    }
    // The asymptotic series of the remainder. The first term left out is below 1e-15.
    let square = n * n;
    let series = 1.0 / 1188.0 / square;
    let series = (1.0 / 1680.0 - series) / square;
    let series = (1.0 / 1260.0 - series) / square;
    let series = (1.0 / 360.0 - series) / square;
    (1.0 / 12.0 - series) / n
}

/// x ln(x / mean) + mean - x, without cancellation where x is close to the mean.
fn deviance(x: f64, mean: f64) -> f64 {
    let difference = x - mean;
    if difference.abs() >= 0.1 * (x + mean) {
        return x * (x / mean).ln() - difference;
    }
    // The ratio is below 0.1, so each term is less than a hundredth of the one before.
    let ratio = difference / (x + mean);
    let mut sum = difference * ratio;
    let mut power = 2.0 * x * ratio;
    for odd in (3..1000).step_by(2) {
        power *= ratio * ratio;
        let next = sum + power / f64::from(odd);
        if next == sum {
            break;
        }
        sum = next;
    }
    sum
}
