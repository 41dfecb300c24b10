//! Values in the formats of Go's standard library, with which Jaeger parses its parameters.

use std::time::Duration;

/// Reads a duration such as `1.5s`, `100ms` or `1h30m` (Go's `time.ParseDuration`).
///
/// # Errors
/// Go's error message, or another one for a negative duration, which Go accepts.
pub fn duration(text: &str) -> Result<Duration, String> {
    let quoted = || format!("time: invalid duration {text:?}");
    if let Some(unsigned) = text.strip_prefix('-') {
        if unsigned.trim_matches('0').is_empty() && !unsigned.is_empty() {
            return Ok(Duration::ZERO);
        }
        return Err(format!("{}: must not be negative", quoted()));
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(quoted());
    }
    // Go calculates with integers; a double is equally exact up to 104 days.
    let mut nanos = 0_f64;
    while !rest.is_empty() {
        let digits = rest
            .find(|next: char| !next.is_ascii_digit() && next != '.')
            .ok_or_else(|| format!("time: missing unit in duration {text:?}"))?;
        let (number, unit) = rest.split_at(digits);
        let number: f64 = number.parse().map_err(|_| quoted())?;
        let end = unit
            .find(|next: char| next.is_ascii_digit() || next == '.')
            .unwrap_or(unit.len());
        let (unit, remaining) = unit.split_at(end);
        nanos += number
            * unit_nanos(unit)
                .ok_or_else(|| format!("time: unknown unit {unit:?} in duration {text:?}"))?;
        rest = remaining;
    }
    // Go's durations are 64-bit nanoseconds: about 292 years.
    if nanos >= 9.223_372e18 {
        return Err(quoted());
    }
    // Not negative, and within the range just checked.
    Ok(Duration::from_nanos(nanos.round() as u64))
}

/// Reads a whole number (Go's `strconv.ParseInt` in base 10).
///
/// # Errors
/// Go's error message.
pub fn integer(text: &str) -> Result<i64, String> {
    text.parse().map_err(|error: std::num::ParseIntError| {
        use std::num::IntErrorKind::{NegOverflow, PosOverflow};
        let reason = match error.kind() {
            PosOverflow | NegOverflow => "value out of range",
            _ => "invalid syntax",
        };
        format!("strconv.ParseInt: parsing {text:?}: {reason}")
    })
}

/// Reads a boolean (Go's `strconv.ParseBool`).
///
/// # Errors
/// Go's error message.
pub fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!(
            "strconv.ParseBool: parsing {text:?}: invalid syntax"
        )),
    }
}

fn unit_nanos(unit: &str) -> Option<f64> {
    Some(match unit {
        "ns" => 1.0,
        // The micro sign and the Greek letter.
        "us" | "\u{b5}s" | "\u{3bc}s" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        "m" => 60e9,
        "h" => 3_600e9,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rstest::rstest;

    use super::{boolean, duration, integer};

    #[rstest]
    #[case("0", 0)]
    #[case("100ms", 100_000_000)]
    #[case("1.2s", 1_200_000_000)]
    #[case(".5s", 500_000_000)]
    #[case("+3us", 3_000)]
    #[case("3µs", 3_000)]
    #[case("3μs", 3_000)]
    #[case("7ns", 7)]
    #[case("1h2m3s", 3_723_000_000_000)]
    fn durations_are_read(#[case] text: &str, #[case] nanos: u64) {
        assert_eq!(duration(text), Ok(Duration::from_nanos(nanos)));
    }

    #[rstest]
    #[case("", "time: invalid duration \"\"")]
    #[case("5", "time: missing unit in duration \"5\"")]
    #[case("soon", "time: invalid duration \"soon\"")]
    #[case("5 s", "time: unknown unit \" s\" in duration \"5 s\"")]
    #[case("1.2.3s", "time: invalid duration \"1.2.3s\"")]
    #[case("9999999h", "time: invalid duration \"9999999h\"")]
    #[case("-1s", "time: invalid duration \"-1s\": must not be negative")]
    fn invalid_durations_are_rejected(#[case] text: &str, #[case] message: &str) {
        assert_eq!(duration(text), Err(message.to_owned()));
    }

    #[test]
    fn integers_and_booleans_are_read_as_go_does() {
        assert_eq!(integer("-12"), Ok(-12));
        assert!(integer("99999999999999999999").is_err_and(|error| error.contains("range")));
        assert!(integer("1.5").is_err_and(|error| error.contains("invalid syntax")));
        assert_eq!((boolean("T"), boolean("0")), (Ok(true), Ok(false)));
        assert!(boolean("yes").is_err());
    }
}
