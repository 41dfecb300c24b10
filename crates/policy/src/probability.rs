//! Probabilities, exact to a millionth, and their sampling thresholds.

use std::{fmt, str::FromStr};

use crate::message::shortened;

/// A share of traces from 0 % to 100 %, exact to 0.0001 %.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Probability(u32);

/// The error for a string or number that is not a [`Probability`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidProbability {
    /// Not a number followed by `%`.
    #[error("must be a percentage such as \"1%\" or \"0.1%\", not \"{0}\"")]
    NotAPercentage(String),
    /// Below 0 % or above 100 %.
    #[error("must be from \"0%\" to \"100%\", not \"{0}\"")]
    OutOfRange(String),
    /// More than four decimal places.
    #[error("must have at most 4 decimal places (\"0.0001%\" is the smallest step), not \"{0}\"")]
    TooFine(String),
}

impl Probability {
    /// 0 %.
    pub const NEVER: Self = Self(0);
    /// 100 %.
    pub const ALWAYS: Self = Self(Self::MILLIONTHS);
    const MILLIONTHS: u32 = 1_000_000;

    /// Creates a probability from millionths: 10 000 is 1 %.
    ///
    /// # Errors
    /// [`InvalidProbability::OutOfRange`] above 1 000 000.
    pub fn from_millionths(millionths: u32) -> Result<Self, InvalidProbability> {
        let is_in_range = millionths <= Self::MILLIONTHS;
        is_in_range.then_some(Self(millionths)).ok_or_else(|| {
            let percent = f64::from(millionths) / 1e4;
            InvalidProbability::OutOfRange(format!("{percent}%"))
        })
    }

    /// The probability in millionths: 1 % is 10 000.
    #[must_use]
    pub fn millionths(self) -> u32 {
        self.0
    }

    /// The probability as a number from 0.0 to 1.0.
    #[must_use]
    pub fn as_f64(self) -> f64 {
        f64::from(self.0) / f64::from(Self::MILLIONTHS)
    }

    /// 100 % minus this probability.
    #[must_use]
    pub fn complement(self) -> Self {
        Self(Self::MILLIONTHS - self.0)
    }

    /// The threshold that rejects all but this share of random values.
    #[must_use]
    pub fn threshold(self) -> Threshold {
        let rejected = u64::from(Self::MILLIONTHS - self.0);
        // The product needs 76 bits: 2^56 × 10^6.
        let scaled =
            u128::from(rejected) * u128::from(Threshold::END) / u128::from(Self::MILLIONTHS);
        Threshold(u64::try_from(scaled).unwrap_or(Threshold::END))
    }
}

impl fmt::Display for Probability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, fraction) = (self.0 / 10_000, self.0 % 10_000);
        if fraction == 0 {
            write!(f, "{whole}%")
        } else {
            let digits = format!("{fraction:04}");
            write!(f, "{whole}.{}%", digits.trim_end_matches('0'))
        }
    }
}

impl FromStr for Probability {
    type Err = InvalidProbability;

    fn from_str(text: &str) -> Result<Self, InvalidProbability> {
        let shown = || shortened(text, 40).into_owned();
        let malformed = || InvalidProbability::NotAPercentage(shown());
        let number = text.strip_suffix('%').ok_or_else(malformed)?;
        // Parsed as decimal digits: a floating-point number would not be exact to a millionth.
        let digits = number.strip_prefix('-').unwrap_or(number);
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !is_digits(whole) || !is_digits(fraction) {
            return Err(malformed());
        }
        let out_of_range = || InvalidProbability::OutOfRange(shown());
        if number.starts_with('-') {
            return Err(out_of_range());
        }
        let whole: u32 = whole.parse().map_err(|_| out_of_range())?;
        // Before the multiplication below, which would overflow.
        if whole > 100 {
            return Err(out_of_range());
        }
        let fraction = fraction.trim_end_matches('0');
        // Zeros at the end add nothing, so `1.00000%` is exact and not too fine.
        if fraction.len() > 4 {
            return Err(InvalidProbability::TooFine(shown()));
        }
        let fraction: u32 = format!("{fraction:0<4}").parse().map_err(|_| malformed())?;
        Self::from_millionths(whole * 10_000 + fraction).map_err(|_| out_of_range())
    }
}

/// A rejection threshold T in 56 bits: a trace with randomness R is kept when R ≥ T.
///
/// Source: OpenTelemetry, Trace State: probability sampling (`ot=th`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Threshold(u64);

impl Threshold {
    /// 2⁵⁶: rejects everything.
    pub const END: u64 = 1 << 56;

    /// True if a trace with this randomness is kept: the low 56 bits of its ID, or `rv`.
    #[inline]
    #[must_use]
    pub fn keeps(self, randomness: u64) -> bool {
        randomness >= self.0
    }

    /// The number itself, from 0 (keep all) to [`Threshold::END`] (keep none).
    #[must_use]
    pub fn value(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Threshold {
    /// Writes the format of `th`: 1 to 14 hexadecimal digits without trailing zeros. A threshold that
    /// rejects everything has no such form, and is never sent.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = format!("{:014x}", self.0);
        match digits.trim_end_matches('0') {
            "" => f.write_str("0"),
            trimmed => f.write_str(trimmed),
        }
    }
}
