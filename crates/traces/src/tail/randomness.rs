//! What a trace's state says of the sampling at its head.
//!
//! Source: OpenTelemetry, "TraceState: Probability Sampling" (`ot=th:…;rv:…`).

/// The parts of the `ot` member that concern sampling.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    /// The threshold of the head's decision, in 56 bits.
    pub(super) threshold: Option<u64>,
    /// The explicit randomness, in 56 bits.
    pub(super) randomness: Option<u64>,
}

const DIGITS: usize = 14;

impl Head {
    /// Reads a `tracestate`. What is malformed counts as absent.
    pub(super) fn read(trace_state: &str) -> Self {
        let members = trace_state
            .split(',')
            .filter_map(|member| member.trim().split_once('='));
        let own = members
            .filter(|(key, _)| *key == "ot")
            .map(|(_, value)| value)
            .next();
        let mut head = Self::default();
        for (key, value) in own
            .into_iter()
            .flat_map(|own| own.split(';'))
            .filter_map(|part| part.split_once(':'))
        {
            match key {
                "th" if (1..=DIGITS).contains(&value.len()) => {
                    head.threshold =
                        hex(value).map(|number| number << (4 * (DIGITS - value.len())));
                }
                "rv" if value.len() == DIGITS => head.randomness = hex(value),
                _ => {}
            }
        }
        head
    }
}

fn hex(digits: &str) -> Option<u64> {
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    digits
        .bytes()
        .all(is_hex)
        .then(|| u64::from_str_radix(digits, 16).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::nothing("", None, None)]
    #[case::threshold("ot=th:c", Some(0x00c0_0000_0000_0000), None)]
    #[case::always("ot=th:0", Some(0), None)]
    #[case::both(
        "a=b, ot=rv:00000000000001;th:fd70a3d70a3d71",
        Some(0x00fd_70a3_d70a_3d71),
        Some(1)
    )]
    #[case::too_long("ot=th:fd70a3d70a3d711", None, None)]
    #[case::upper_case("ot=th:C", None, None)]
    #[case::short_randomness("ot=rv:1", None, None)]
    #[case::somebody_elses("vendor=th:c", None, None)]
    fn reads(#[case] text: &str, #[case] threshold: Option<u64>, #[case] randomness: Option<u64>) {
        assert_eq!(
            Head::read(text),
            Head {
                threshold,
                randomness
            }
        );
    }
}
