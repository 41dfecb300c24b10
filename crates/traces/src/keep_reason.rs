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
}

/// Reasons by number: with it, a trace is annotated. None is ever removed, since traces hold the
/// numbers; there is one for each rule and policy.
#[derive(Debug, Default)]
pub(crate) struct Reasons {
    all: Vec<KeepReason>,
    numbers: HashMap<KeepReason, u32>,
}

impl Reasons {
    /// The number of a reason.
    pub(crate) fn number(&mut self, kept: &KeepReason) -> u32 {
        if let Some(number) = self.numbers.get(kept) {
            return *number;
        }
        let number = self.all.len() as u32;
        self.all.push(kept.clone());
        self.numbers.insert(kept.clone(), number);
        number
    }

    pub(crate) fn get(&self, number: u32) -> Option<&KeepReason> {
        self.all.get(number as usize)
    }
}
