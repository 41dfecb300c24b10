//! The reason that a trace was kept.

use std::collections::HashMap;

use spoor_policy::{PolicyName, Probability, RuleName};

/// The reason that a trace was kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash, derive_more::Display)]
pub enum KeepReason {
    /// No tail policy applies to it.
    #[display("no tail policy")]
    NoPolicy,
    /// It had no root span when it was decided, so no policy could be determined.
    #[display("no root span")]
    NoRoot,
    /// A rule of its policy matched.
    #[display("rule {rule} of policy {policy}")]
    Rule {
        /// The policy.
        policy: PolicyName,
        /// The rule.
        rule: RuleName,
    },
    /// No rule matched, and the policy keeps it as part of `otherwise`.
    #[display("`otherwise` of policy {policy}")]
    Otherwise {
        /// The policy.
        policy: PolicyName,
        /// The share that it keeps.
        rate: Probability,
    },
    /// No rule matched, and head sampling had already kept no more than the share `otherwise`.
    #[display("head sampling (policy {policy})")]
    Head {
        /// The policy.
        policy: PolicyName,
    },
    /// A policy keeps it, but the policy's name is not recorded, since traces were kept for too
    /// many different reasons, or a later version recorded it.
    #[display("a policy whose name was not recorded")]
    UnnamedPolicy,
}

impl KeepReason {
    /// The attribute of the root span with the reason for which a sampler kept its trace:
    /// `POLICY/RULE`, `POLICY/otherwise` or `POLICY/head`. The Collector's tail sampler uses this name
    /// for its own policies.
    pub const ATTRIBUTE: &str = "tailsampling.policy";
}

/// The most reasons that are recorded, besides those that name no policy. With the longest names of
/// policies and rules, they take about 8 MiB together.
const MAX_REASONS: usize = 1 << 14;

/// Reasons by number, which traces have as their note.
#[derive(Debug, Default)]
pub(crate) struct Reasons {
    all: Vec<KeepReason>,
    numbers: HashMap<KeepReason, u32>,
}

impl Reasons {
    /// Records a reason, and returns its number.
    pub(crate) fn number(&mut self, kept: &KeepReason) -> u32 {
        if let Some(number) = self.numbers.get(kept) {
            return *number;
        }
        let names_policy = !matches!(
            kept,
            KeepReason::NoPolicy | KeepReason::NoRoot | KeepReason::UnnamedPolicy
        );
        if names_policy && self.all.len() >= MAX_REASONS {
            return self.number(&KeepReason::UnnamedPolicy);
        }
        // Never removed, since traces hold the numbers.
        let number = self.all.len() as u32;
        self.all.push(kept.clone());
        self.numbers.insert(kept.clone(), number);
        number
    }

    pub(crate) fn get(&self, number: u32) -> Option<&KeepReason> {
        self.all.get(number as usize)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use spoor_policy::PolicyName;

    use super::{KeepReason, MAX_REASONS, Reasons};

    #[test]
    fn recorded_reasons_are_bounded() {
        let mut reasons = Reasons::default();
        let mut note = |kept: &KeepReason| {
            let number = reasons.number(kept);
            reasons.get(number).cloned().unwrap()
        };
        for number in 0..MAX_REASONS {
            let policy = PolicyName::new(format!("policy-{number}")).unwrap();
            let rate = "100%".parse().unwrap();
            let kept = KeepReason::Otherwise { policy, rate };
            assert_eq!(note(&kept), kept);
        }
        for name in ["one", "two"] {
            let policy = PolicyName::new(name).unwrap();
            let kept = KeepReason::Head { policy };
            assert_eq!(note(&kept), KeepReason::UnnamedPolicy);
        }
        assert_eq!(note(&KeepReason::NoPolicy), KeepReason::NoPolicy);
        assert_eq!(reasons.all.len(), MAX_REASONS + 2);
    }
}
