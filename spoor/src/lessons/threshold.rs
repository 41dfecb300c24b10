//! The probability at which a trace was sampled, from the threshold `ot=th:…` in its `tracestate`.

use spoor_policy::Probability;
use spoor_traces::tree::Tree;

/// The hexadecimal digits of a threshold. Trailing zeros are left out.
const DIGITS: usize = 14;
/// The tolerated relative error, since thresholds are rounded.
const TOLERANCE: f64 = 0.01;

/// True if a trace's root was sampled at a probability.
pub fn sampled_at(tree: &Tree, probability: Probability) -> bool {
    let root = tree.root();
    let share = root.and_then(|root| share(&root.member.span.trace_state));
    let expected = probability.as_f64();
    share.is_some_and(|share| (share - expected).abs() <= TOLERANCE * expected)
}

/// The sampling probability in a `tracestate`.
fn share(trace_state: &str) -> Option<f64> {
    let members = trace_state.split(',').map(str::trim);
    let own = members.filter_map(|member| member.strip_prefix("ot="));
    let mut fields = own.flat_map(|own| own.split(';'));
    let digits = fields.find_map(|field| field.strip_prefix("th:"))?;
    if digits.is_empty() || digits.len() > DIGITS {
        return None;
    }
    let threshold = u64::from_str_radix(&format!("{digits:0<DIGITS$}"), 16).ok()?;
    // The threshold is the rejected part of the 2^56 values of a trace ID's random bits (W3C Trace
    // Context, Level 2).
    let all = 1_u64 << (DIGITS * 4);
    Some((all - threshold) as f64 / all as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case("ot=th:0", Some(1.0))]
    #[case("ot=th:8", Some(0.5))]
    #[case("vendor=1, ot=rv:1;th:c", Some(0.25))]
    #[case("ot=th:fd70a", Some(0.01))]
    #[case("ot=th:", None)]
    #[case("ot=th:xyz", None)]
    #[case("ot=th:000000000000000", None)]
    #[case("", None)]
    fn reads_the_share_of_a_threshold(#[case] trace_state: &str, #[case] expected: Option<f64>) {
        match (share(trace_state), expected) {
            (Some(share), Some(expected)) => assert!((share - expected).abs() < 1e-4, "{share}"),
            (share, expected) => assert_eq!(share, expected),
        }
    }
}
