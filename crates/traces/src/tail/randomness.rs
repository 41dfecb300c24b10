//! A trace's randomness, which is compared with a threshold: explicit, the bits of the trace ID, or
//! a hash of them.
//!
//! Source: OpenTelemetry, "TraceState: Probability Sampling" (`ot=th:…;rv:…`).

use crate::TraceId;

/// The parts of the `ot` member that concern sampling, and the random flag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    /// The threshold of the head's decision, in 56 bits.
    pub(crate) threshold: Option<u64>,
    /// The explicit randomness, in 56 bits.
    pub(crate) randomness: Option<u64>,
    /// The flag by which the sender guarantees that the low 56 bits of the ID are random.
    pub(crate) has_random_id: bool,
}

/// The hexadecimal digits of 56 bits.
const DIGITS: usize = 14;
/// Source: W3C Trace Context Level 2; OTLP, `Span.flags`, bits 0 to 7.
const RANDOM_FLAG: u32 = 2;

/// The most members of a `tracestate` (W3C Trace Context, section 3.3.1.1), and parts of one.
/// Receivers accept any length, and this is read under a lock.
const MAX_MEMBERS: usize = 32;

impl Head {
    /// Reads a `tracestate` and the trace flags. A malformed value counts as absent.
    pub(crate) fn read(trace_state: &str, flags: u32) -> Self {
        let mut members = trace_state
            .split(',')
            .take(MAX_MEMBERS)
            .filter_map(|member| member.trim().split_once('='));
        let ot = members.find(|(key, _)| *key == "ot");
        let mut head = Self {
            has_random_id: flags & RANDOM_FLAG != 0,
            ..Self::default()
        };
        let parts = ot
            .into_iter()
            .flat_map(|(_, ot)| ot.split(';').take(MAX_MEMBERS));
        for (key, value) in parts.filter_map(|part| part.split_once(':')) {
            match key {
                // A threshold may omit trailing zeros; a randomness value always has 14 digits.
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

    /// The 56 bits that determine whether a trace is in the share.
    ///
    /// A head with a threshold above 0 decided by the bits of the ID, so the same bits are used
    /// here, which makes the share one of all traces. A head that kept everything used no bits of
    /// the ID: they are used here only if they are known to be random, which those of sequential
    /// IDs are not. A head without a threshold may have kept a biased selection of IDs, so their
    /// bits are not used.
    pub(crate) fn randomness_of(&self, id: TraceId) -> u64 {
        match self.randomness {
            Some(explicit) => explicit,
            None if self.uses_id() => id.randomness(),
            None => mixed(id),
        }
    }

    /// Returns whether the bits of the ID are the randomness, unless it is explicit.
    pub(crate) fn uses_id(&self) -> bool {
        let is_by_id = |threshold| threshold > 0 || self.has_random_id;
        self.threshold.is_some_and(is_by_id)
    }
}

/// Hashes an ID to 56 bits, each of which depends on every bit of the ID, so that similar IDs
/// (sequences, timestamps) are distributed evenly.
///
/// FNV-1a, which the Collector's tail sampler uses, is not sufficient: the last two bytes of the ID
/// move the hash by about 1 % of its range, so 65,536 consecutive IDs mostly get the same decision.
///
/// Source of the mixing steps: D. Stafford, "Better Bit Mixing", variant 13, as in SplitMix64.
fn mixed(id: TraceId) -> u64 {
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
    let mix = |bits: u64| {
        let bits = bits.wrapping_add(STEP);
        let bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ bits >> 31
    };
    let id = u128::from_be_bytes(id.to_bytes());
    let (high, low) = ((id >> 64) as u64, id as u64);
    mix(mix(high) ^ low) >> 8
}

fn hex(digits: &str) -> Option<u64> {
    // The specification allows lower-case digits only.
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if !digits.bytes().all(is_hex) {
        return None;
    }
    u64::from_str_radix(digits, 16).ok()
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
    #[case::other_vendor("vendor=th:c", None, None)]
    fn reads_a_tracestate(
        #[case] text: &str,
        #[case] threshold: Option<u64>,
        #[case] randomness: Option<u64>,
    ) {
        assert_eq!(
            Head::read(text, 0),
            Head {
                threshold,
                randomness,
                has_random_id: false,
            }
        );
    }

    const BITS: u64 = 0x00ab_cdef_0123_4567;

    #[rstest]
    #[case::explicit("ot=rv:00000000000001;th:8", 0, Some(1))]
    #[case::explicit_alone("ot=rv:00000000000001", 0, Some(1))]
    #[case::head_used_the_bits("ot=th:8", 0, Some(BITS))]
    #[case::all_kept_random_flag("ot=th:0", 3, Some(BITS))]
    #[case::all_kept("ot=th:0", 1, None)]
    #[case::no_threshold("", 0, None)]
    #[case::no_threshold_random_flag("", 3, None)]
    fn randomness_is_explicit_or_from_the_id(
        #[case] state: &str,
        #[case] flags: u32,
        #[case] expected: Option<u64>,
    ) {
        let id = TraceId::from_bytes(u128::from(BITS).to_be_bytes());
        let randomness = Head::read(state, flags).randomness_of(id);
        assert_eq!(randomness, expected.unwrap_or_else(|| mixed(id)));
    }

    /// IDs from generators that are not random.
    #[rstest]
    #[case::in_sequence(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef, 1)]
    #[case::from_one(1, 1)]
    #[case::by_bytes(1, 1 << 8)]
    #[case::by_words(1, 1 << 32)]
    #[case::by_the_top_of_the_low_half(1, 1 << 47)]
    #[case::high_half_only(7, 1 << 64)]
    #[case::both_halves(1, (1 << 64) + 1)]
    #[case::clock_before_constant(0x5f3e_0000_0000_0000_dead_beef_dead_beef, 1_000_003 << 64)]
    #[case::bytes_at_the_top(1, 1 << 111)]
    fn non_random_ids_are_spread_evenly(#[case] first: u128, #[case] step: u128) {
        const IDS: u32 = 100_000;
        const BUCKETS: usize = 100;
        let mut buckets = [0u32; BUCKETS];
        for number in 0..IDS {
            let id = first.wrapping_add(step.wrapping_mul(u128::from(number)));
            let randomness = mixed(TraceId::from_bytes(id.to_be_bytes()));
            let bucket = (u128::from(randomness) * BUCKETS as u128) >> 56;
            buckets[bucket as usize] += 1;
        }
        // 1 % of the IDs each: 1,000, standard deviation 31.5.
        let expected = f64::from(IDS) / BUCKETS as f64;
        let deviation = |count: &u32| (f64::from(*count) - expected).powi(2) / expected;
        let chi_squared: f64 = buckets.iter().map(deviation).sum();
        // 99 degrees of freedom: above 160 in 1 of 10,000.
        assert!(chi_squared < 160.0, "χ² = {chi_squared:.1}: {buckets:?}");
        assert!(
            buckets.iter().all(|count| (800..1_200).contains(count)),
            "{buckets:?}"
        );
    }
}
