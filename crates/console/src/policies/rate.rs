//! The rate in a form.

use serde::Deserialize;
use spoor_policy::{InvalidProbability, Probability};

/// The field of a form.
#[derive(Debug, Deserialize)]
pub(super) struct RateField {
    #[serde(default)]
    pub rate: String,
}

/// Reads a rate in percent; the sign may be missing.
///
/// # Errors
/// The message names the field and the fix.
pub(super) fn read(text: &str) -> Result<Probability, String> {
    let number = text.trim().trim_end_matches('%').trim_end();
    let parsed: Result<Probability, InvalidProbability> = format!("{number}%").parse();
    parsed.map_err(|error| format!("rate: {error}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[rstest::rstest]
    #[case("1%", "1%")]
    #[case("1", "1%")]
    #[case(" 0.5 % ", "0.5%")]
    #[case("100", "100%")]
    fn sign_is_optional(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(read(text).unwrap().to_string(), expected);
    }

    #[rstest::rstest]
    #[case("", "rate: must be a percentage")]
    #[case(
        "one",
        "rate: must be a percentage such as \"1%\" or \"0.1%\", not \"one%\""
    )]
    #[case("101", "rate: must be from \"0%\" to \"100%\", not \"101%\"")]
    #[case("0.00001", "rate: must have at most 4 decimal places")]
    fn other_text_is_refused(#[case] text: &str, #[case] expected: &str) {
        let problem = read(text).unwrap_err();
        assert!(problem.starts_with(expected), "{problem}");
    }
}
