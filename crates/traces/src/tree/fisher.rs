//! Fisher's exact test of whether something is as frequent in one set as in another.

/// The test for two sets of fixed sizes.
#[derive(Debug)]
pub(super) struct FisherTest {
    selected: usize,
    rest: usize,
    /// The natural logarithm of each factorial up to that of both sizes together.
    ln_factorials: Vec<f64>,
}

/// The relative difference up to which two tables count as equally probable. Rounding must not
/// exclude a table that is as probable as the observed one, such as its mirror image.
const TIE_TOLERANCE: f64 = 1e-7;

impl FisherTest {
    pub(super) fn new(selected: usize, rest: usize) -> Self {
        let next = |sum: &mut f64, number: usize| {
            *sum += (number.max(1) as f64).ln();
            Some(*sum)
        };
        Self {
            selected,
            rest,
            ln_factorials: (0..=selected + rest).scan(0.0, next).collect(),
        }
    }

    /// The two-sided p-value of finding something in so many of each set, which are at most their
    /// sizes: the probability of all tables with the same sums that are at most as probable.
    pub(super) fn p(&self, selected: usize, rest: usize) -> f64 {
        let found = selected + rest;
        let ln_probability = |in_selected: usize| {
            self.ln_choose(self.selected, in_selected)
                + self.ln_choose(self.rest, found - in_selected)
                - self.ln_choose(self.selected + self.rest, found)
        };
        let limit = ln_probability(selected) + TIE_TOLERANCE;
        let possible = found.saturating_sub(self.rest)..=found.min(self.selected);
        let probabilities = possible.map(ln_probability);
        let as_extreme = probabilities.filter(|probability| *probability <= limit);
        as_extreme.map(f64::exp).sum::<f64>().min(1.0)
    }

    /// The logarithm of the number of ways to choose `k` of `n`.
    fn ln_choose(&self, n: usize, k: usize) -> f64 {
        self.ln_factorial(n) - self.ln_factorial(k) - self.ln_factorial(n.saturating_sub(k))
    }

    fn ln_factorial(&self, number: usize) -> f64 {
        self.ln_factorials.get(number).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn choose(n: u64, k: u64) -> u64 {
        (0..k).fold(1, |product, i| product * (n - i) / (i + 1))
    }

    /// The p-value by counting the ways to make each table, in whole numbers.
    fn counted(found: [u64; 2], sizes: [u64; 2]) -> f64 {
        let sum = found[0] + found[1];
        let ways = |x: u64| match sum.checked_sub(x) {
            Some(rest) if x <= sizes[0] && rest <= sizes[1] => {
                choose(sizes[0], x) * choose(sizes[1], rest)
            }
            _ => 0,
        };
        let observed = ways(found[0]);
        let extreme = (0..=sizes[0]).map(ways).filter(|ways| *ways <= observed);
        extreme.sum::<u64>() as f64 / choose(sizes[0] + sizes[1], sum) as f64
    }

    /// The tea tasting experiment in Fisher's "The Design of Experiments".
    #[test]
    fn finds_the_p_value_of_tea_tasting() {
        let test = FisherTest::new(4, 4);
        assert!((test.p(3, 1) - 34.0 / 70.0).abs() < 1e-12);
        assert!((test.p(4, 0) - 2.0 / 70.0).abs() < 1e-12);
    }

    #[test]
    fn empty_set_proves_nothing() {
        assert!((FisherTest::new(0, 5).p(0, 3) - 1.0).abs() < 1e-12);
        assert!((FisherTest::new(0, 0).p(0, 0) - 1.0).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn equals_an_enumeration(
            with in prop::array::uniform2(0_u64..6),
            without in prop::array::uniform2(0_u64..6),
        ) {
            let sizes = [with[0] + without[0], with[1] + without[1]];
            let test = FisherTest::new(sizes[0] as usize, sizes[1] as usize);
            let p = test.p(with[0] as usize, with[1] as usize);
            prop_assert!((p - counted(with, sizes)).abs() < 1e-9, "{p} {sizes:?}");
        }

        #[test]
        fn is_a_symmetric_probability(
            with in prop::array::uniform2(0_usize..800),
            without in prop::array::uniform2(0_usize..800),
        ) {
            let [selected, rest] = [with[0] + without[0], with[1] + without[1]];
            let p = FisherTest::new(selected, rest).p(with[0], with[1]);
            prop_assert!((0.0..=1.0).contains(&p));
            let swapped = FisherTest::new(rest, selected).p(with[1], with[0]);
            let opposite = FisherTest::new(selected, rest).p(without[0], without[1]);
            for other in [swapped, opposite] {
                prop_assert!((p - other).abs() <= 1e-9, "{p} {other}");
            }
        }
    }
}
