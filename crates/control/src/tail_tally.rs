//! The counts of one policy's tail, over all samplers.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use spoor_policy::Strategy;

use crate::{
    counts::Counts,
    tail_counts::{OtherwiseRate, TailCounts, TailDecisions},
    tail_rules::PolicyRules,
    tally::Tally,
};

/// The most rule names in the totals of one policy, apart from those of its present rules and of
/// late reports. With more, the totals start again at zero: a policy whose rules get a new name with
/// each change must not take more and more memory.
const MAX_TOTALED_RULES: usize = 256;

/// The counts of a policy's tail for as long as it decides anywhere.
#[derive(Debug)]
pub(crate) struct TailTally {
    rules: Arc<PolicyRules>,
    /// The length of the window.
    length: Duration,
    /// All decisions, including those by former rules.
    total: TailDecisions,
    /// The traces in the window that none of the present rules matched. Each is an independent trial
    /// of `otherwise`.
    unmatched: Tally,
}

impl TailTally {
    pub(crate) fn new(rules: Arc<PolicyRules>, length: Duration, now: Instant) -> Self {
        let names = rules.tail.keep().iter().map(|rule| rule.name.clone());
        let otherwise = Strategy::Probability(rules.tail.otherwise());
        Self {
            length,
            // Every rule is listed, even if it keeps no trace.
            total: TailDecisions {
                by_rule: names.map(|name| (name, 0)).collect(),
                ..TailDecisions::default()
            },
            unmatched: Tally::new(otherwise, length, now),
            rules,
        }
    }

    /// Continues with other rules or places, if they have changed. The totals stay; the window and
    /// the verdict start again, since the rate of `otherwise` may have changed.
    pub(crate) fn set_rules(&mut self, rules: &Arc<PolicyRules>, now: Instant) {
        if Arc::ptr_eq(&self.rules, rules) {
            return;
        }
        let mut changed = Self::new(rules.clone(), self.length, now);
        if self.total.by_rule.len() <= MAX_TOTALED_RULES {
            changed.total.add(&self.total);
        }
        *self = changed;
    }

    /// All decisions.
    pub(crate) fn total(&self) -> &TailDecisions {
        &self.total
    }

    /// Adds decisions by former rules or at former places, to the totals only.
    pub(crate) fn add_former(&mut self, decisions: &TailDecisions) {
        self.total.add(decisions);
    }

    /// Adds decisions by the present rules that were made between two moments.
    pub(crate) fn add(&mut self, decisions: &TailDecisions, from: Instant, to: Instant) {
        self.total.add(decisions);
        let unmatched = Counts {
            started: decisions.unmatched,
            sampled: decisions.unmatched_kept,
        };
        if unmatched != Counts::default() {
            self.unmatched.add(unmatched, from, to);
        }
    }

    /// The counts until now.
    pub(crate) fn counts(&mut self, now: Instant) -> TailCounts {
        let observed = self.unmatched.observed(&[], now);
        TailCounts {
            total: self.total.clone(),
            otherwise: observed.map(|it| OtherwiseRate {
                rate: it.rate,
                interval: it.interval,
                verdict: it.verdict,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeMap;

    use spoor_policy::{Rule, RuleCondition, TailPolicy, statistics::Verdict};

    use super::*;

    fn rules(names: &[&str]) -> Arc<PolicyRules> {
        let rule = |name: &&str| Rule {
            name: name.parse().unwrap(),
            condition: RuleCondition::Error,
        };
        let keep = names.iter().map(rule).collect();
        Arc::new(PolicyRules {
            places: vec![(None, None)],
            tail: TailPolicy::new(keep, "10%".parse().unwrap()).unwrap(),
        })
    }

    fn tally(start: Instant) -> TailTally {
        let rules = rules(&["errors", "never"]);
        TailTally::new(rules, Duration::from_secs(60), start)
    }

    fn by_rule(decisions: &TailDecisions) -> Vec<(&str, u64)> {
        let by_rule = decisions.by_rule.iter();
        by_rule.map(|(rule, kept)| (rule.as_str(), *kept)).collect()
    }

    fn decisions(errors: u64, unmatched: u64, unmatched_kept: u64) -> TailDecisions {
        TailDecisions {
            by_rule: BTreeMap::from([("errors".parse().unwrap(), errors)]),
            unmatched,
            unmatched_kept,
        }
    }

    #[test]
    fn rate_is_recent_and_the_total_stays() {
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let mut tally = tally(start);
        for second in 1..=180 {
            let unmatched_kept = if second <= 60 { 30 } else { 10 };
            let decisions = decisions(5, 100, unmatched_kept);
            tally.add(&decisions, at(second - 1), at(second));
        }
        let counts = tally.counts(at(180));
        assert_eq!(by_rule(&counts.total), [("errors", 900), ("never", 0)]);
        assert_eq!(
            (counts.total.decided(), counts.total.kept()),
            (18_900, 3_900)
        );
        let otherwise = counts.otherwise.unwrap();
        assert_eq!(otherwise.verdict, Verdict::Consistent);
        assert!(otherwise.interval.lower < 0.1 && 0.1 < otherwise.interval.upper);
    }

    #[test]
    fn totals_stay_with_other_rules() {
        let start = Instant::now();
        let mut tally = tally(start);
        tally.add(&decisions(5, 100, 10), start, start);
        tally.set_rules(&rules(&["never", "slow"]), start);
        tally.add_former(&decisions(1, 20, 2));
        let counts = tally.counts(start);
        let total = [("errors", 6), ("never", 0), ("slow", 0)];
        assert_eq!(by_rule(&counts.total), total);
        assert_eq!((counts.total.decided(), counts.total.kept()), (126, 18));
        assert_eq!(counts.otherwise, None);
    }

    #[test]
    fn names_of_former_rules_are_bounded() {
        let start = Instant::now();
        let mut tally = tally(start);
        for number in 0..2 * MAX_TOTALED_RULES {
            let name = format!("rule-{number}");
            tally.set_rules(&rules(&[name.as_str()]), start);
            assert!(tally.total().by_rule.len() <= MAX_TOTALED_RULES + 1);
        }
    }

    #[test]
    fn rate_above_otherwise_is_too_high() {
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let mut tally = tally(start);
        for second in 1..=60 {
            tally.add(&decisions(5, 1_000, 300), at(second - 1), at(second));
        }
        let otherwise = tally.counts(at(60)).otherwise.unwrap();
        assert_eq!(otherwise.verdict, Verdict::TooHigh);
    }

    #[test]
    fn no_rate_without_unmatched_traces() {
        let start = Instant::now();
        let mut tally = tally(start);
        tally.add(&decisions(5, 0, 0), start, start);
        let counts = tally.counts(start);
        assert_eq!(counts.otherwise, None);
        assert_eq!((counts.total.decided(), counts.total.kept()), (5, 5));
    }
}
