//! The amount of a quantity.

use crate::{InvalidText, duration::split_while, formats, tracing_stack::Quantity};

/// The units, each in millionths.
// 128 bits: the largest quantities in millionths exceed 64.
const UNITS: [(&str, u128); 13] = [
    ("m", 1_000),
    ("k", 1_000_000_000),
    ("M", 1_000_000_000_000),
    ("G", 1_000_000_000_000_000),
    ("T", 1_000_000_000_000_000_000),
    ("P", 1_000_000_000_000_000_000_000),
    ("E", 1_000_000_000_000_000_000_000_000),
    ("Ki", 1_000_000 << 10),
    ("Mi", 1_000_000 << 20),
    ("Gi", 1_000_000 << 30),
    ("Ti", 1_000_000 << 40),
    ("Pi", 1_000_000 << 50),
    ("Ei", 1_000_000 << 60),
];

impl Quantity {
    /// The amount in millionths, for comparison.
    ///
    /// # Errors
    /// The problem, if the text is not a quantity.
    pub fn millionths(&self) -> Result<u128, InvalidText> {
        let text = formats::QUANTITY.check(&self.0)?;
        let (number, unit) = split_while(text, |letter| !letter.is_ascii_alphabetic());
        let known = UNITS.iter().find(|(name, _)| *name == unit);
        let factor = known.map_or(1_000_000, |(_, factor)| *factor);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        // The format allows 12 digits before the point and 3 after it, which fit in 128 bits.
        let thousandths: u128 = format!("{whole}{fraction:0<3}").parse().unwrap_or_default();
        // Every factor is a multiple of 1000. Divided first, since the product of the largest number
        // and unit would not fit in 128 bits.
        Ok(thousandths * (factor / 1_000))
    }
}
