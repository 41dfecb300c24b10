//! The division of a limit by demand, in equal shares: one for each process in sum.

/// The least share: what a process with sudden demand begins with until it has reported that.
pub(super) const MIN_SHARE: f64 = 0.1;
/// Shares change where that keeps so much more of what the limit allows.
const MIN_GAIN: f64 = 0.04;
/// Or where a process that certainly lacks can get so much more.
const MIN_GROWTH: f64 = 1.5;
/// A share that is this near to its goal is there.
const NEAR: f64 = 0.05;

/// The demand of one process.
#[derive(Clone, Copy, Debug)]
pub(super) struct Want {
    /// The traces that it starts.
    pub(super) demand: f64,
    /// The traces that it certainly starts, noise aside.
    pub(super) certain: f64,
    /// The share that it is to have by the last division.
    pub(super) goal: f64,
}

/// Max-min fair: small demands are met, large ones get equal parts of the rest. What is left over
/// goes half in equal parts to all and half in proportion to the demand, for its ups and downs.
pub(super) fn divide(wants: &[Want]) -> Vec<f64> {
    let total = wants.len() as f64;
    let wanted: Vec<f64> = wants
        .iter()
        .map(|want| want.demand.clamp(MIN_SHARE, total))
        .collect();
    let sum: f64 = wanted.iter().sum();
    if sum > total {
        return fill(&wanted);
    }
    let left = total - sum;
    let part = |wanted: &f64| wanted + left / 2.0 * (1.0 / total + wanted / sum);
    wanted.iter().map(part).collect()
}

/// Equal parts, but nobody gets more than it wants.
fn fill(wanted: &[f64]) -> Vec<f64> {
    let mut ascending: Vec<usize> = (0..wanted.len()).collect();
    let value = |place: &usize| wanted.get(*place).copied().unwrap_or_default();
    ascending.sort_by(|one, other| value(one).total_cmp(&value(other)));
    let mut left = wanted.len() as f64;
    let mut level = 0.0;
    for (place, waiting) in ascending.iter().zip((1..=wanted.len()).rev()) {
        level = left / waiting as f64;
        let smallest = value(place);
        if smallest >= level {
            break;
        }
        left -= smallest;
    }
    wanted.iter().map(|wanted| wanted.min(level)).collect()
}

/// True if new goals are so much better that they are worth the change.
pub(super) fn is_worth_it(wants: &[Want], goals: &[f64]) -> bool {
    let pairs = || wants.iter().zip(goals);
    let kept = |share: fn(&Want, f64) -> f64| -> f64 {
        pairs()
            .map(|(want, goal)| want.demand.min(share(want, *goal)))
            .sum()
    };
    let demand: f64 = wants.iter().map(|want| want.demand).sum();
    let allowed = demand.min(wants.len() as f64);
    let gain = kept(|_, goal| goal) - kept(|want, _| want.goal);
    let lacks =
        |(want, goal): (&Want, &f64)| want.certain > want.goal && *goal > MIN_GROWTH * want.goal;
    gain > MIN_GAIN * allowed || pairs().any(lacks)
}

/// The next shares, given the most that each may have now: those over their goals shrink at once,
/// and the others divide what nobody has.
pub(super) fn hand_out(has: &[f64], goals: &[f64]) -> Vec<f64> {
    let lack = |has: f64, goal: f64| match goal - has > NEAR * goal {
        true => goal - has,
        false => 0.0,
    };
    let pairs = || has.iter().copied().zip(goals.iter().copied());
    let free = (has.len() as f64 - has.iter().sum::<f64>()).max(0.0);
    let lacking: f64 = pairs().map(|(has, goal)| lack(has, goal)).sum();
    let part = if lacking > 0.0 {
        (free / lacking).min(1.0)
    } else {
        0.0
    };
    pairs()
        .map(|(has, goal)| {
            let grown = lack(has, goal) * part;
            match grown > NEAR * goal {
                true => has + grown,
                false => has.min(goal),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// More than nothing by rounding.
    const ROUNDING: f64 = 1e-9;

    fn wants(demands: &[f64]) -> Vec<Want> {
        let want = |demand: &f64| Want {
            demand: *demand,
            certain: *demand,
            goal: 1.0,
        };
        demands.iter().map(want).collect()
    }

    fn demands() -> impl Strategy<Value = Vec<f64>> {
        let demand = prop_oneof![Just(0.0), 0.0..1.0_f64, 0.0..10.0_f64, 0.0..10_000.0_f64];
        prop::collection::vec(demand, 1..60)
    }

    #[test]
    fn small_demands_are_met_and_large_ones_share_the_rest() {
        assert_eq!(
            divide(&wants(&[0.5, 10.0, 10.0, 0.5])),
            [0.5, 1.5, 1.5, 0.5]
        );
        assert_eq!(divide(&wants(&[0.0, 9.0, 9.0])), [0.1, 1.45, 1.45]);
        assert_eq!(divide(&wants(&[7.0])), [1.0]);
    }

    #[test]
    fn what_is_left_over_goes_to_everybody() {
        let shares = divide(&wants(&[0.1, 0.1, 0.1, 2.1]));
        assert!(shares.iter().all(|share| *share > 0.3), "{shares:?}");
        assert!(shares[3] > 3.0 - 0.5, "{shares:?}");
    }

    #[test]
    fn even_demand_changes_nothing() {
        let even = wants(&[0.7, 0.6, 0.65, 0.72]);
        assert!(!is_worth_it(&even, &divide(&even)));
        let over = wants(&[40.0, 40.0, 41.0]);
        assert!(!is_worth_it(&over, &divide(&over)));
    }

    #[test]
    fn one_of_many_that_lacks_is_worth_a_change() {
        let mut many = wants(&[0.5; 100]);
        many[0] = Want {
            demand: 0.5,
            certain: 0.4,
            goal: 0.1,
        };
        assert!(is_worth_it(&many, &divide(&many)));
    }

    proptest! {
        #[test]
        fn division_uses_all_and_starves_none(demands in demands()) {
            let shares = divide(&wants(&demands));
            let total = demands.len() as f64;
            let sum: f64 = shares.iter().sum();
            prop_assert!((sum - total).abs() <= ROUNDING * total.max(1.0), "{}", sum);
            for (share, demand) in shares.iter().zip(&demands) {
                prop_assert!(*share >= MIN_SHARE - ROUNDING, "{}", share);
                // Nobody is better off with equal shares unless others get no more than it.
                prop_assert!(*share >= demand.min(1.0) - ROUNDING, "{} for {}", share, demand);
            }
        }

        #[test]
        fn what_was_divided_is_not_divided_again(demands in demands()) {
            let mut wants = wants(&demands);
            let goals = divide(&wants);
            for (want, goal) in wants.iter_mut().zip(&goals) {
                want.goal = *goal;
            }
            prop_assert!(!is_worth_it(&wants, &divide(&wants)));
        }

        /// With confirmations that come late, in any order, and not at all from some.
        #[test]
        fn no_more_than_the_limit_is_ever_out(
            rounds in prop::collection::vec((demands(), any::<u64>()), 1..12)
        ) {
            let count = rounds.iter().map(|(demands, _)| demands.len()).min().unwrap_or(1);
            // The most that each may use, and what it was last told.
            let mut has = vec![1.0_f64; count];
            let mut told = has.clone();
            for (demands, confirms) in rounds {
                let goals = divide(&wants(&demands[..count]));
                for round in 0..6 {
                    let next = hand_out(&has, &goals);
                    for place in 0..count {
                        told[place] = next[place];
                        has[place] = has[place].max(next[place]);
                        if confirms >> ((place + round) % 64) & 1 == 1 {
                            has[place] = told[place];
                        }
                    }
                    let sum: f64 = has.iter().sum();
                    prop_assert!(sum <= count as f64 * (1.0 + ROUNDING), "{}", sum);
                }
            }
        }

        #[test]
        fn shares_reach_their_goals(demands in demands()) {
            let goals = divide(&wants(&demands));
            let mut has = vec![1.0_f64; demands.len()];
            // One round to shrink and be confirmed, one to grow.
            for _ in 0..2 {
                has = hand_out(&has, &goals);
            }
            for (has, goal) in has.iter().zip(&goals) {
                prop_assert!((has - goal).abs() <= 2.0 * NEAR * goal + ROUNDING, "{} {}", has, goal);
            }
        }
    }
}
