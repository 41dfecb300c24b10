//! Counts of tail decisions.

use std::collections::BTreeMap;

use spoor_policy::{
    RuleName,
    statistics::{Interval, Verdict},
};

/// Decisions of samplers on traces at the places of one policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TailDecisions {
    /// The traces kept because of each rule.
    pub by_rule: BTreeMap<RuleName, u64>,
    /// The traces that no rule matched.
    pub unmatched: u64,
    /// The traces among these that were kept.
    pub unmatched_kept: u64,
}

/// The decisions by one policy's tail, of all samplers.
#[derive(Clone, Debug, PartialEq)]
pub struct TailCounts {
    /// All decisions since the policy began to decide the tail, including those by former rules.
    pub total: TailDecisions,
    /// The rate at which `otherwise` kept traces in the window, under the present rules. `None`
    /// without unmatched traces in the window.
    pub otherwise: Option<OtherwiseRate>,
}

/// The share of traces kept among those that no rule matched.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OtherwiseRate {
    /// The share, from 0.0 to 1.0.
    pub rate: f64,
    /// The 95 % confidence interval of the rate.
    pub interval: Interval,
    /// The comparison with the policy's `otherwise`.
    ///
    /// `Unknown` where a head below 100 % decides too: `otherwise` is a share of all traces, and
    /// samplers receive only those that the head kept.
    pub verdict: Verdict,
}

impl TailDecisions {
    /// All traces decided.
    #[must_use]
    pub fn decided(&self) -> u64 {
        self.kept_by_rules().saturating_add(self.unmatched)
    }

    /// The traces kept.
    #[must_use]
    pub fn kept(&self) -> u64 {
        self.kept_by_rules().saturating_add(self.unmatched_kept)
    }

    fn kept_by_rules(&self) -> u64 {
        self.by_rule
            .values()
            .fold(0, |sum: u64, kept| sum.saturating_add(*kept))
    }

    /// Adds other decisions.
    pub(crate) fn add(&mut self, other: &Self) {
        for (rule, kept) in &other.by_rule {
            let sum = self.by_rule.entry(rule.clone()).or_default();
            *sum = sum.saturating_add(*kept);
        }
        self.unmatched = self.unmatched.saturating_add(other.unmatched);
        self.unmatched_kept = self.unmatched_kept.saturating_add(other.unmatched_kept);
    }

    /// The increase since earlier counts, or `None` if a number has decreased.
    #[must_use]
    pub fn checked_since(&self, before: &Self) -> Option<Self> {
        let mut by_rule = self.by_rule.clone();
        for (rule, kept) in &before.by_rule {
            // Rules that kept no trace may be missing.
            let now = by_rule.entry(rule.clone()).or_default();
            *now = now.checked_sub(*kept)?;
        }
        Some(Self {
            by_rule,
            unmatched: self.unmatched.checked_sub(before.unmatched)?,
            unmatched_kept: self.unmatched_kept.checked_sub(before.unmatched_kept)?,
        })
    }
}
