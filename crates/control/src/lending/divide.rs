//! The division of a rate limit by demand.
//!
//! Shares are multiples of an equal share, so those of all processes add up to the number of
//! processes.

/// The smallest share. A process without demand needs some until it has reported new demand.
const MIN_SHARE: f64 = 0.1;

/// The smallest gain of new goals that is worth a message, as a fraction of the allowed traces.
const MIN_GAIN: f64 = 0.04;

/// The factor by which the goal of a process whose share is too small must grow to be worth a
/// message.
const MIN_GROWTH: f64 = 1.5;

/// The distance from its goal, as a fraction of the goal, within which a share has reached it.
const GOAL_TOLERANCE: f64 = 0.05;

/// The demand of one process under one plan entry, as multiples of an equal share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ShareDemand {
    /// The traces that the process starts.
    pub(crate) demand: f64,
    /// A lower bound on the traces that the process starts, allowing for noise.
    pub(crate) certain: f64,
    /// The share that the last division assigned to the process.
    pub(crate) goal: f64,
}

/// Divides max-min fairly: small demands are met, and large ones get equal parts of the rest.
///
/// If all demands are met, half of the remainder is divided equally and half in proportion to
/// demand, as headroom for fluctuations.
pub(crate) fn divide(wants: &[ShareDemand]) -> Vec<f64> {
    let total = wants.len() as f64;
    let wanted: Vec<f64> = wants
        .iter()
        // No process can use more than all shares together, however many traces it starts.
        .map(|want| want.demand.clamp(MIN_SHARE, total))
        .collect();
    let sum: f64 = wanted.iter().sum();
    if sum > total {
        return fill_equally(&wanted);
    }
    let left = total - sum;
    let part = |wanted: &f64| wanted + left / 2.0 * (1.0 / total + wanted / sum);
    wanted.iter().map(part).collect()
}

/// Divides equally, but gives no process more than its demand.
fn fill_equally(wanted: &[f64]) -> Vec<f64> {
    // In ascending order, so that each demand below the level leaves more for the larger ones.
    let mut ascending = wanted.to_vec();
    ascending.sort_by(f64::total_cmp);
    let mut left = wanted.len() as f64;
    let mut level = 0.0;
    for (smallest, waiting) in ascending.into_iter().zip((1..=wanted.len()).rev()) {
        level = left / waiting as f64;
        if smallest >= level {
            break;
        }
        left -= smallest;
    }
    wanted.iter().map(|wanted| wanted.min(level)).collect()
}

/// True if new goals are enough of an improvement to be worth the messages.
pub(crate) fn is_worth_sending(wants: &[ShareDemand], goals: &[f64]) -> bool {
    let pairs = || wants.iter().zip(goals);
    let kept = |share: fn(&ShareDemand, f64) -> f64| -> f64 {
        pairs()
            .map(|(want, goal)| want.demand.min(share(want, *goal)))
            .sum()
    };
    let demand: f64 = wants.iter().map(|want| want.demand).sum();
    let allowed = demand.min(wants.len() as f64);
    let gain = kept(|_, goal| goal) - kept(|want, _| want.goal);
    let lacks = |(want, goal): (&ShareDemand, &f64)| {
        want.certain > want.goal && *goal > MIN_GROWTH * want.goal
    };
    gain > MIN_GAIN * allowed || pairs().any(lacks)
}

/// The next shares, given the largest share that each process may be using now.
///
/// Shares above their goals shrink at once; the others divide the free capacity.
pub(crate) fn next_shares(has: &[f64], goals: &[f64]) -> Vec<f64> {
    let lack = |has: f64, goal: f64| match goal - has > GOAL_TOLERANCE * goal {
        true => goal - has,
        false => 0.0,
    };
    let pairs = || has.iter().copied().zip(goals.iter().copied());
    // The shares of all processes add up to the number of processes.
    let free = (has.len() as f64 - has.iter().sum::<f64>()).max(0.0);
    let lacking: f64 = pairs().map(|(has, goal)| lack(has, goal)).sum();
    // If no process lacks anything, this is 1 and has no effect: `min` also replaces NaN.
    let part = (free / lacking).min(1.0);
    pairs()
        .map(|(has, goal)| {
            let grown = lack(has, goal) * part;
            match grown > GOAL_TOLERANCE * goal {
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

    /// The tolerance for rounding.
    const ROUNDING: f64 = 1e-9;

    fn wants(demands: &[f64]) -> Vec<ShareDemand> {
        let want = |demand: &f64| ShareDemand {
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
    fn large_demands_share_what_small_ones_leave() {
        assert_eq!(
            divide(&wants(&[0.5, 10.0, 10.0, 0.5])),
            [0.5, 1.5, 1.5, 0.5]
        );
        assert_eq!(divide(&wants(&[0.0, 9.0, 9.0])), [0.1, 1.45, 1.45]);
        assert_eq!(divide(&wants(&[7.0])), [1.0]);
    }

    #[test]
    fn remainder_goes_to_everyone() {
        let shares = divide(&wants(&[0.1, 0.1, 0.1, 2.1]));
        assert!(shares.iter().all(|share| *share > 0.3), "{shares:?}");
        assert!(shares[3] > 3.0 - 0.5, "{shares:?}");
    }

    #[test]
    fn even_demand_changes_nothing() {
        let even = wants(&[0.7, 0.6, 0.65, 0.72]);
        assert!(!is_worth_sending(&even, &divide(&even)));
        let over = wants(&[40.0, 40.0, 41.0]);
        assert!(!is_worth_sending(&over, &divide(&over)));
    }

    #[test]
    fn one_starved_process_is_worth_a_change() {
        let mut many = wants(&[0.5; 100]);
        many[0] = ShareDemand {
            demand: 0.5,
            certain: 0.4,
            goal: 0.1,
        };
        assert!(is_worth_sending(&many, &divide(&many)));
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
                // No process gets less than its demand or an equal share, whichever is smaller.
                prop_assert!(*share >= demand.min(1.0) - ROUNDING, "{} for {}", share, demand);
            }
        }

        #[test]
        fn division_is_stable(demands in demands()) {
            let mut wants = wants(&demands);
            let goals = divide(&wants);
            for (want, goal) in wants.iter_mut().zip(&goals) {
                want.goal = *goal;
            }
            prop_assert!(!is_worth_sending(&wants, &divide(&wants)));
        }

        /// Confirmations may come late, in any order, or not at all.
        #[test]
        fn usable_shares_never_exceed_the_limit(
            rounds in prop::collection::vec((demands(), any::<u64>()), 1..12)
        ) {
            let count = rounds.iter().map(|(demands, _)| demands.len()).min().unwrap_or(1);
            // The most that each may use, and the share it was last sent.
            let mut has = vec![1.0_f64; count];
            let mut last_sent = has.clone();
            for (demands, confirms) in rounds {
                let goals = divide(&wants(&demands[..count]));
                for round in 0..6 {
                    let next = next_shares(&has, &goals);
                    for index in 0..count {
                        last_sent[index] = next[index];
                        has[index] = has[index].max(next[index]);
                        if confirms >> ((index + round) % 64) & 1 == 1 {
                            has[index] = last_sent[index];
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
                has = next_shares(&has, &goals);
            }
            for (has, goal) in has.iter().zip(&goals) {
                prop_assert!((has - goal).abs() <= 2.0 * GOAL_TOLERANCE * goal + ROUNDING, "{} {}", has, goal);
            }
        }
    }
}
