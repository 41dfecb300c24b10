//! Durations in the format of Kubernetes' Gateway API (GEP-2257): `500ms`, `2s`, `1m30s`.

use std::time::Duration;

use crate::{InvalidText, formats};

/// The units, largest first, with their milliseconds.
const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);

/// Parses a duration, or whole days: `7d`.
pub(crate) fn parse_days_or_duration(text: &str) -> Result<Duration, InvalidText> {
    let Some(days) = text.strip_suffix('d') else {
        return parse_duration(text);
    };
    let days = days.parse().ok();
    days.and_then(|days| DAY.checked_mul(days))
        .ok_or_else(|| formats::DURATION.invalid(text))
}

/// Parses a duration: whole numbers with `h`, `m`, `s` or `ms`, larger units first and each at
/// most once.
///
/// # Errors
/// [`InvalidText`] for anything else.
pub fn parse_duration(text: &str) -> Result<Duration, InvalidText> {
    parse(text)
        .map(Duration::from_millis)
        .ok_or_else(|| formats::DURATION.invalid(text))
}

/// Formats a duration for [`parse_days_or_duration`].
pub(crate) fn format_days_or_duration(duration: Duration) -> String {
    let (seconds, day) = (duration.as_secs(), DAY.as_secs());
    match seconds % day {
        0 => format!("{}d", seconds / day),
        _ => format_duration(duration),
    }
}

/// Formats a duration for [`parse_duration`]. Fractions of a millisecond are dropped.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    // A duration has at least one unit.
    if rest == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, millis) in UNITS {
        if rest >= millis {
            text.push_str(&format!("{}{unit}", rest / millis));
            rest %= millis;
        }
    }
    text
}

fn parse(text: &str) -> Option<u64> {
    let (mut rest, mut units, mut total) = (text, UNITS.as_slice(), 0u64);
    while !rest.is_empty() {
        let (number, after) = split_while(rest, |c| c.is_ascii_digit());
        let (name, after) = split_while(after, |c| c.is_ascii_alphabetic());
        let at = units.iter().position(|(unit, _)| *unit == name)?;
        let (_, millis) = units.get(at)?;
        // The following units must be smaller.
        units = units.get(at + 1..)?;
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(*millis)?)?;
        rest = after;
    }
    (!text.is_empty()).then_some(total)
}

/// Splits a text before the first character that does not belong to the first part.
pub(crate) fn split_while(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    let end = text.find(|c| !belongs(c)).unwrap_or(text.len());
    text.split_at(end)
}
