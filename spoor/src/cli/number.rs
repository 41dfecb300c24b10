//! Options whose values are numbers.

use std::{fmt::Display, ops::RangeInclusive, str::FromStr};

/// A parser of whole numbers in a range. clap's own reports `invalid digit found in string`.
pub fn whole_number<T: FromStr + PartialOrd + Display + Clone>(
    range: RangeInclusive<T>,
    example: T,
) -> impl Fn(&str) -> Result<T, String> + Clone {
    move |text| {
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| {
            let (min, max) = (range.start(), range.end());
            format!("must be a whole number from {min} to {max}, such as {example}")
        })
    }
}

/// Parses a whole number of at least 1.
///
/// # Errors
/// A message that describes a valid value.
pub fn positive_number(text: &str) -> Result<u64, String> {
    let number = text.parse().ok().filter(|number| *number >= 1);
    number.ok_or_else(|| "must be a whole number of at least 1, such as 1000".to_owned())
}

/// Parses a ratio from 0 to 1.
///
/// # Errors
/// A message that describes a valid value.
pub fn ratio(text: &str) -> Result<f64, String> {
    let ratio = text.parse().ok().filter(|it| (0.0..=1.0).contains(it));
    ratio.ok_or_else(|| "must be a number from 0 to 1, such as 0.1".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case("1", Ok(1))]
    #[case("1500", Ok(1500))]
    #[case("0", Err(()))]
    #[case("1501", Err(()))]
    #[case("-1", Err(()))]
    #[case("1e3", Err(()))]
    #[case("99999999999999999999", Err(()))]
    fn errors_name_range_and_example(#[case] text: &str, #[case] expected: Result<u16, ()>) {
        let message = "must be a whole number from 1 to 1500, such as 20".to_owned();
        let parsed = whole_number(1..=1500, 20)(text);
        assert_eq!(parsed, expected.map_err(|()| message));
    }

    #[rstest::rstest]
    #[case("0", true)]
    #[case("1.0", true)]
    #[case("1.1", false)]
    #[case("nan", false)]
    #[case("abc", false)]
    fn accepts_ratios_from_0_to_1(#[case] text: &str, #[case] is_valid: bool) {
        assert_eq!(ratio(text).is_ok(), is_valid);
    }
}
