//! Tests of intervals, p-values and verdicts. The reference values are exact sums, computed with 40
//! digits by mpmath.

use proptest::prelude::*;
use rstest::rstest;
use spoor_policy::{
    Probability,
    statistics::{Interval, Judge, Verdict, interval, judge, p_value},
};

fn close(computed: f64, reference: f64) -> bool {
    (computed - reference).abs() <= 1e-9 * reference.abs().max(f64::MIN_POSITIVE)
}

#[rstest]
#[case(0, 10, "50%", 0.001953125)]
#[case(3, 10, "50%", 0.34375)]
#[case(5, 10, "50%", 1.0)]
#[case(987, 100_000, "1%", 0.691171677344825)]
#[case(1187, 120_000, "1%", 0.71686409833844)]
#[case(900, 100_000, "1%", 0.00132472079009293)]
#[case(140, 50_000, "0.1%", 1.46617794649969e-25)]
#[case(0, 1_000_000, "0.0001%", 0.63212037488873)]
#[case(10, 1_000_000, "0.0001%", 1.11421423288618e-7)]
#[case(1050, 1_000_000_000, "0.0001%", 0.11383482213306)]
#[case(1200, 1_000_000_000, "0.0001%", 8.34044903916441e-10)]
#[case(999_999, 1_000_000, "99.9999%", 1.0)]
#[case(0, 1_000_000_000, "0%", 1.0)]
#[case(1, 1_000_000_000, "0%", 0.0)]
#[case(1_000_000_000, 1_000_000_000, "100%", 1.0)]
#[case(999_999_999, 1_000_000_000, "100%", 0.0)]
#[case(0, 0, "1%", 1.0)]
fn p_value_equals_the_exact_sum(
    #[case] successes: u64,
    #[case] trials: u64,
    #[case] probability: Probability,
    #[case] reference: f64,
) {
    let computed = p_value(successes, trials, probability);
    assert!(
        close(computed, reference),
        "{computed:e} is not {reference:e}"
    );
}

/// Above the variance up to which sums are computed.
#[rstest]
#[case(1_001_101, 1_000_100_000_000, "0.0001%", 0.316850721942225)]
#[case(1_003_390, 1_000_100_000_000, "0.0001%", 0.0010078082006525)]
#[case(996_809, 1_000_100_000_000, "0.0001%", 0.000995350122511051)]
#[case(1_005_001, 1_000_100_000_000, "0.0001%", 9.71826982268134e-7)]
#[case(995_200, 1_000_100_000_000, "0.0001%", 9.42596918264761e-7)]
#[case(1_016_301, 101_020_000, "1%", 1.0963942223849e-9)]
#[case(1_004_100, 101_020_000, "1%", 1.02669419685801e-9)]
#[case(10_014_099, 11_120_000, "90%", 1.05365048559984e-9)]
#[case(9_990_000, 1_000_000_000, "1%", 0.00148025683907284)]
#[case(500_050_000, 1_000_000_000, "50%", 0.00156557226108381)]
fn approximate_p_value_is_within_one_percent(
    #[case] successes: u64,
    #[case] trials: u64,
    #[case] probability: Probability,
    #[case] reference: f64,
) {
    let computed = p_value(successes, trials, probability);
    assert!(
        (computed / reference - 1.0).abs() < 0.01,
        "{computed:e} is not {reference:e}"
    );
}

#[rstest]
#[case(0, 100, 0.999, 0.0, 0.07319215754417)]
#[case(100, 100, 0.999, 0.92680784245583, 1.0)]
#[case(1, 1000, 0.95, 2.5317487491294e-5, 0.00555892427982668)]
#[case(8, 10, 0.95, 0.443904537692358, 0.974789273673167)]
#[case(1187, 120_000, 0.95, 0.0093394388526828, 0.0104677687770276)]
#[case(1187, 120_000, 0.999, 0.00897823426970083, 0.0108671681725024)]
#[case(1, 1_000_000_000, 0.999, 5.00125041682173e-13, 9.99867745263636e-9)]
#[case(999, 1_000_000_000, 0.999, 8.9826076266626e-7, 1.10734195139557e-6)]
#[case(999_999_999, 1_000_000_000, 0.999, 0.999999990001323, 0.9999999999995)]
#[case(0, 0, 0.95, 0.0, 1.0)]
fn interval_equals_the_exact_one(
    #[case] successes: u64,
    #[case] trials: u64,
    #[case] confidence: f64,
    #[case] lower: f64,
    #[case] upper: f64,
) {
    let computed = interval(successes, trials, confidence);
    assert!(
        close(computed.lower, lower) && close(computed.upper, upper),
        "{computed:?}"
    );
}

/// The approximation for huge counts begins where the exact sums end.
#[rstest]
#[case(3_999_000, 0.113947186212164)]
#[case(4_001_000, 0.114037602172382)]
fn approximation_continues_the_exact_result(#[case] trials: u64, #[case] expected: f64) {
    let half: Probability = "50%".parse().unwrap();
    let computed = p_value(trials / 2 + 1_581, trials, half);
    assert!((computed - expected).abs() < 1e-6, "{computed}");
    let Interval { lower, upper } = interval(trials / 2, trials, 0.999);
    let width = (upper - lower) * (trials as f64).sqrt();
    assert!((width - 3.290_527).abs() < 1e-3, "{width}");
}

#[rstest]
#[case::right("1%", 1_010, 100_000, Verdict::Consistent)]
#[case::twice("1%", 2_000, 100_000, Verdict::TooHigh)]
#[case::half("1%", 500, 100_000, Verdict::TooLow)]
#[case::no_trials("1%", 0, 0, Verdict::Unknown)]
#[case::too_few_trials("1%", 2, 100, Verdict::Unknown)]
#[case::few_but_impossible("1%", 20, 20, Verdict::TooHigh)]
#[case::one_missing_of_all("100%", 99_999, 100_000, Verdict::TooLow)]
#[case::all("100%", 50, 50, Verdict::Consistent)]
#[case::all_of_three("100%", 3, 3, Verdict::Unknown)]
#[case::one_at_zero_percent("0%", 1, 10, Verdict::TooHigh)]
#[case::none("0%", 0, 10, Verdict::Consistent)]
fn verdict_compares_counts_with_probability(
    #[case] probability: Probability,
    #[case] successes: u64,
    #[case] trials: u64,
    #[case] verdict: Verdict,
) {
    assert_eq!(judge(successes, trials, probability, 0.999), verdict);
}

#[test]
fn judge_needs_three_agreeing_windows() {
    let one: Probability = "1%".parse().unwrap();
    let mut judge = Judge::default();
    let mut verdicts = |windows: &[u64]| -> Vec<Verdict> {
        windows
            .iter()
            .map(|sampled| judge.add_window(*sampled, 100_000, one))
            .collect()
    };
    use Verdict::{Consistent, TooHigh, TooLow};
    assert_eq!(verdicts(&[1_000]), [Consistent]);
    assert_eq!(verdicts(&[2_000, 2_000, 1_000]), [Consistent; 3]);
    assert_eq!(verdicts(&[2_000, 2_000, 500]), [Consistent; 3]);
    assert_eq!(
        verdicts(&[2_000, 2_000, 2_000]),
        [Consistent, Consistent, TooHigh]
    );
    assert_eq!(
        verdicts(&[1_000, 1_000, 1_000]),
        [TooHigh, TooHigh, Consistent]
    );
    assert_eq!(verdicts(&[1, 1, 1]), [Consistent, Consistent, TooLow]);
}

#[test]
fn judge_resets_with_another_probability() {
    let (one, two): (Probability, Probability) = ("1%".parse().unwrap(), "2%".parse().unwrap());
    let mut judge = Judge::default();
    assert_eq!(judge.add_window(1_000, 100_000, one), Verdict::Consistent);
    assert_eq!(judge.add_window(1_000, 100_000, two), Verdict::Unknown);
    assert_eq!(judge.add_window(2_000, 100_000, two), Verdict::Consistent);
}

/// The p-value summed as it is defined, without the crate's optimisations.
fn p_value_by_definition(successes: u64, trials: u64, share: f64) -> f64 {
    let mass = |k: u64| {
        let mut mass = 1.0;
        for i in 0..k {
            mass *= (trials - i) as f64 / (i + 1) as f64 * share;
        }
        mass * (1.0 - share).powi((trials - k) as i32)
    };
    let seen = mass(successes);
    (0..=trials)
        .map(mass)
        .filter(|mass| *mass <= seen * (1.0 + 1e-7))
        .sum::<f64>()
        .min(1.0)
}

proptest! {
    #[test]
    fn p_value_matches_its_definition(
        trials in 1u64..60, seen in 0.0..=1.0, millionths in 1_000u32..=999_000,
    ) {
        let successes = (trials as f64 * seen) as u64;
        let probability = Probability::from_millionths(millionths).unwrap();
        let computed = p_value(successes, trials, probability);
        let expected = p_value_by_definition(successes, trials, probability.as_f64());
        prop_assert!((computed - expected).abs() < 1e-9 * expected, "{computed:e} {expected:e}");
    }

    #[test]
    fn interval_grows_with_confidence(
        trials in 1u64..=u64::MAX, seen in 0.0..=1.0, confidence in 0.5..0.999_9,
    ) {
        let successes = ((trials as f64 * seen) as u64).min(trials);
        let share = successes as f64 / trials as f64;
        let narrow = interval(successes, trials, confidence);
        let wide = interval(successes, trials, 1.0 - (1.0 - confidence) / 10.0);
        prop_assert!(0.0 <= wide.lower && wide.lower <= narrow.lower && narrow.lower <= share);
        prop_assert!(share <= narrow.upper && narrow.upper <= wide.upper && wide.upper <= 1.0);
    }

    #[test]
    fn results_stay_in_range(
        successes: u64, trials: u64, millionths in 0u32..=1_000_000, confidence: f64,
    ) {
        let probability = Probability::from_millionths(millionths).unwrap();
        prop_assert!((0.0..=1.0).contains(&p_value(successes, trials, probability)));
        let Interval { lower, upper } = interval(successes, trials, confidence);
        prop_assert!(0.0 <= lower && lower <= upper && upper <= 1.0);
        let _ = judge(successes, trials, probability, confidence);
    }
}
