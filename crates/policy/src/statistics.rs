//! Comparison of an observed rate with a policy: intervals, exact tests and verdicts.
//!
//! Root decisions are independent trials, so the number of sampled ones is binomial. All results
//! are exact, not normal approximations, up to a variance of 10⁶. Above it, approximations bound the
//! work: they differ by less than 1 % from p-values above 10⁻¹², and by at most 0.04 % of its width
//! from the ends of an interval of up to 99.9 %.

use std::cmp::Ordering;

use statrs::function::erf::{erfc, erfc_inv};

use crate::{Probability, binomial::Binomial};

/// The confidence at which a [`Judge`] judges each window.
pub const CONFIDENCE: f64 = 0.999;

/// The number of consecutive windows that must agree before a [`Judge`] changes its verdict.
pub const MIN_AGREEING_WINDOWS: u8 = 3;

/// The largest variance for exact sums, whose number of terms is about ten times its square root:
/// 0.1 ms for each p-value. A thousand policies may be judged at once.
const MAX_EXACT_VARIANCE: f64 = 1e6;

/// A confidence interval of a share, each end from 0.0 to 1.0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The lower end.
    pub lower: f64,
    /// The upper end.
    pub upper: f64,
}

/// The result of comparing an observation with a policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, derive_more::Display)]
pub enum Verdict {
    /// There are enough observations, and they do not contradict the policy.
    Consistent,
    /// More was sampled than chance explains.
    TooHigh,
    /// Less was sampled than chance explains.
    TooLow,
    /// There are too few observations, or too few windows that agree.
    #[default]
    Unknown,
}

/// The Clopper–Pearson interval: it covers the true share with at least this confidence
/// (from 0.0 to 1.0), whatever that share is. Without trials, it is 0.0 to 1.0.
#[must_use]
pub fn interval(successes: u64, trials: u64, confidence: f64) -> Interval {
    let successes = successes.min(trials);
    if trials == 0 {
        return Interval {
            lower: 0.0,
            upper: 1.0,
        };
    }
    let tail = significance(confidence) / 2.0;
    let seen = successes as f64 / trials as f64;
    let variance = trials as f64 * seen * (1.0 - seen);
    // The work of the exact interval grows with the standard deviation.
    if variance > MAX_EXACT_VARIANCE {
        return wilson(successes, trials, tail);
    }
    // The upper end is the lower end for failures, mirrored: the log odds change their sign.
    let failures = trials - successes;
    Interval {
        lower: share(log_odds_below(successes, trials, tail)),
        upper: share(-log_odds_below(failures, trials, tail)),
    }
}

/// The two-sided p-value: the probability of all results that are at most as probable as this one.
/// Without trials, it is 1.
#[must_use]
pub fn p_value(successes: u64, trials: u64, probability: Probability) -> f64 {
    let successes = successes.min(trials);
    let binomial = Binomial::of(trials, probability);
    if binomial.variance() > MAX_EXACT_VARIANCE {
        let distance = successes as f64 - binomial.mean();
        // Less the continuity correction: a count stands for all values that round to it.
        let corrected = (distance.abs() - 0.5).max(0.0).copysign(distance);
        // The root of the deviance is closer to a normal variable than the count is (Peizer and
        // Pratt, "A Normal Approximation for Binomial, F, Beta, and Other Common, Related Tail
        // Probabilities", 1968). Their correction for the skewness cancels out between the two tails.
        return erfc(binomial.half_deviance(corrected).sqrt());
    }
    let mode = binomial.mode();
    let probability = match successes.cmp(&mode) {
        // No result is more probable than the mode.
        Ordering::Equal => return 1.0,
        Ordering::Less => {
            let opposite = binomial.first_above(mode, binomial.mass(successes));
            binomial.at_most(successes) + opposite.map_or(0.0, |from| binomial.at_least(from))
        }
        Ordering::Greater => {
            let opposite = binomial.last_below(mode, binomial.mass(successes));
            binomial.at_least(successes) + opposite.map_or(0.0, |to| binomial.at_most(to))
        }
    };
    probability.min(1.0)
}

/// Judges one observation at a confidence from 0.0 to 1.0.
///
/// A contradiction needs no minimum number of trials. [`Verdict::Consistent`] needs enough trials
/// that a result without successes would contradict the probability, and at 0 % as many as at 100 %.
/// With fewer, the result is [`Verdict::Unknown`].
#[must_use]
pub fn judge(successes: u64, trials: u64, probability: Probability, confidence: f64) -> Verdict {
    let significance = significance(confidence);
    if p_value(successes, trials, probability) < significance {
        let expected = trials as f64 * probability.as_f64();
        return if successes as f64 > expected {
            Verdict::TooHigh
        } else {
            Verdict::TooLow
        };
    }
    // (1 - p)^n is at most e^(-np). At 0 % no successes are expected, so the trials count instead.
    let expected = match probability {
        Probability::NEVER => trials as f64,
        some => trials as f64 * some.as_f64(),
    };
    if expected < -significance.ln() {
        Verdict::Unknown
    } else {
        Verdict::Consistent
    }
}

/// Judges a sequence of windows, so that a single outlier does not change the verdict.
///
/// One consistent window ends [`Verdict::Unknown`]. Every other change of the verdict takes
/// [`MIN_AGREEING_WINDOWS`] consecutive windows that agree, each at [`CONFIDENCE`]. Windows must
/// not overlap: they would not be independent.
#[derive(Clone, Debug, Default)]
pub struct Judge {
    probability: Option<Probability>,
    verdict: Verdict,
    candidate: Verdict,
    agreeing: u8,
}

impl Judge {
    /// The verdict so far.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Adds the next window's counts and returns the verdict. A different probability than in the
    /// window before resets the judge.
    pub fn add_window(&mut self, successes: u64, trials: u64, probability: Probability) -> Verdict {
        if self.probability != Some(probability) {
            *self = Self {
                probability: Some(probability),
                ..Self::default()
            };
        }
        let window_verdict = judge(successes, trials, probability, CONFIDENCE);
        self.agreeing = if window_verdict == self.candidate {
            self.agreeing.saturating_add(1)
        } else {
            1
        };
        self.candidate = window_verdict;
        let is_first = self.verdict == Verdict::Unknown && window_verdict == Verdict::Consistent;
        if is_first || self.agreeing >= MIN_AGREEING_WINDOWS {
            self.verdict = window_verdict;
        }
        self.verdict
    }
}

/// The significance level of a confidence. NaN counts as the highest confidence.
fn significance(confidence: f64) -> f64 {
    if confidence.is_nan() {
        1e-15
    } else {
        // An f64 just below 1 is 1e-16 away from it. At a level of 0, every interval would be 0 to
        // 1.
        (1.0 - confidence).clamp(1e-15, 1.0)
    }
}

/// The share with these log odds.
fn share(log_odds: f64) -> f64 {
    1.0 / (1.0 + (-log_odds).exp())
}

/// The log odds of the share at which at least this many successes have the probability `tail`.
///
/// Log odds are as precise near 100 % as near 0 %.
fn log_odds_below(successes: u64, trials: u64, tail: f64) -> f64 {
    if successes == 0 {
        return f64::NEG_INFINITY;
    }
    if successes == trials {
        // Here share^trials = tail has a solution in closed form. `exp_m1` keeps the complement
        // precise where the share is close to 1.
        let log_share = tail.ln() / trials as f64;
        return log_share - (-log_share.exp_m1()).ln();
    }
    let failures = (trials - successes) as f64;
    // The lower end is below the observed share, which therefore bounds the search.
    let mut above = (successes as f64 / failures).ln();
    let mut below = f64::NEG_INFINITY;
    let Interval { lower, .. } = wilson(successes, trials, tail);
    let mut at = (lower / (1.0 - lower)).ln().min(above);
    // The logarithm of the tail is concave and rising in the log odds, so Newton's method converges
    // in a few steps. The bracket catches steps that rounding leads astray.
    for _ in 0..100 {
        let binomial = Binomial::new(trials, share(at), share(-at));
        let (log_mass, sum) = binomial.upper_tail(successes);
        let excess = log_mass + sum.ln() - tail.ln();
        if excess > 0.0 {
            above = at
        } else {
            below = at
        }
        let slope = successes as f64 * share(-at) / sum;
        let mut next = at - excess / slope;
        if next >= above {
            next = if below.is_finite() {
                above.midpoint(below)
            } else {
                above - 1.0
            };
        } else if next <= below {
            next = above.midpoint(below);
        }
        if (next - at).abs() <= 1e-14 * at.abs().max(1.0) {
            return next;
        }
        at = next;
    }
    at
}

/// Wilson's score interval, which the exact one approaches for large counts.
fn wilson(successes: u64, trials: u64, tail: f64) -> Interval {
    let n = trials as f64;
    let z = std::f64::consts::SQRT_2 * erfc_inv(2.0 * tail);
    let (seen, square) = (successes as f64 / n, z * z / n);
    let middle = (seen + square / 2.0) / (1.0 + square);
    let half = z * (seen * (1.0 - seen) / n + square / (4.0 * n)).sqrt() / (1.0 + square);
    Interval {
        lower: (middle - half).clamp(0.0, seen),
        upper: (middle + half).clamp(seen, 1.0),
    }
}
