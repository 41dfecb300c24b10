//! Parsing and formatting of durations.

use std::time::Duration;

use proptest::prelude::*;
use rstest::rstest;
use spoor_api::{format_duration, parse_duration};

#[rstest]
#[case("0s", 0)]
#[case("0ms", 0)]
#[case("500ms", 500)]
#[case("2s", 2_000)]
#[case("1m30s", 90_000)]
#[case("1h0m0s250ms", 3_600_250)]
#[case("90s", 90_000)]
fn reads_durations(#[case] text: &str, #[case] millis: u64) {
    assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)));
}

#[rstest]
#[case("")]
#[case("soon")]
#[case("5")]
#[case("s")]
#[case("1.5s")]
#[case("-1s")]
#[case("1 s")]
#[case("1S")]
#[case("1us")]
#[case("30s1m")]
#[case("1s1s")]
#[case("99999999999999999999h")]
#[case("9999999999999999h")]
fn rejects_invalid_durations(#[case] text: &str) {
    let expected =
        format!("must be a duration such as \"500ms\", \"2s\" or \"1m30s\", not {text:?}");
    assert_eq!(parse_duration(text).unwrap_err().to_string(), expected);
}

proptest! {
    #[test]
    fn duration_round_trips(millis: u64) {
        let duration = Duration::from_millis(millis);
        prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
    }

    #[test]
    fn any_text_is_parsed_or_rejected(text in ".{0,40}") {
        let _ = parse_duration(&text);
    }
}
